"""Reads the section `source` of a manifest: lines of the training's own source, their fixes, and what the program already does.

agent/detctl_agent/runs/inspection/source_section.py describes the section. Recordings of earlier versions have none. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SEEDS_ALL = ("seed_everything", "set_seed", "set_deterministic", "set_determinism", "enable_full_determinism")
DETERMINISTIC = ("use_deterministic_algorithms", "set_deterministic", "enable_full_determinism", "set_determinism")
# Library -> the calls that seed it.
SEEDS = {
    "random": ("random.seed",),
    "numpy": ("numpy.random.seed",),
    "torch": ("torch.manual_seed", "torch.random.manual_seed"),
}


@dataclass(frozen=True)
class LineFix:
    """Lines as they are and as they should be. expression: the new part. imports: modules that the file must import for it."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    expression: str = ""
    imports: tuple[str, ...] = ()

    @property
    def change(self) -> tuple[str, ...]:
        """The lines of a diff, without those that stay and without the common indentation."""
        same = 0
        while same < min(len(self.old), len(self.new)) and self.old[same] == self.new[same]:
            same += 1
        if same == len(self.old):  # lines are added: the last one that stays shows where
            kept = [f"  {line}" for line in _dedented(self.old[-1:], self.old[0])]
            return (*kept, *(f"+ {line}" for line in _dedented(self.new[same:], self.old[0])))
        indent = self.old[0]
        rows = [
            *(f"- {line}" for line in _dedented(self.old, indent)),
            *(f"+ {line}" for line in _dedented(self.new, indent)),
        ]
        return (*(f"+ import {name}" for name in self.imports), *rows)


@dataclass(frozen=True)
class SourceLine:
    """One statement that the probe named. loses_order: it lists a folder and sorts the names, or only counts them."""

    file: str
    line: int
    text: tuple[str, ...]
    fixes: Mapping[str, LineFix] = field(default_factory=dict)
    loses_order: bool = False


@dataclass(frozen=True)
class OrderedPlace:
    """A place that uses the order of a set, or a number of hash(). kind: iterated, taken, ties or hash. items: hashed or objects.
    made_line: where the set is made, in made_file; 0: in the place itself. reaches: data, model, or neither."""

    file: str
    line: int
    text: tuple[str, ...]
    kind: str
    items: str
    expression: str
    made_file: str
    made_line: int
    reaches: frozenset[str]
    fix: LineFix | None

    @property
    def where(self) -> str:
        """`train.py:27`, or `train.py:26-27` if the set is made right above."""
        if self.made_line and self.made_file == self.file and 0 < self.line - self.made_line <= 3:
            return f"{self.file}:{self.made_line}-{self.line}"
        return f"{self.file}:{self.line}"

    @property
    def description(self) -> str:
        made = ""
        if self.made_line and self.where == f"{self.file}:{self.line}":
            made = f"; the set is made at {self.made_file}:{self.made_line}"
        what = {
            "hash": f"{self.expression} is another number in each process",
            "taken": f"an arbitrary item is taken from the set {self.expression}",
            "ties": f"items that are equal by the key come in the order of the set {self.expression}",
        }.get(self.kind, f"the order of the set {self.expression} is used")
        return f"{self.where}: {what}{made}"


@dataclass(frozen=True)
class SourceFacts:
    """The section as a whole. known: whether the run has one."""

    known: bool = False
    lines: Mapping[tuple[str, int], SourceLine] = field(default_factory=dict)
    orders: tuple[OrderedPlace, ...] = ()
    calls: frozenset[str] = frozenset()
    hash_seed_set: str = ""  # where the program assigns PYTHONHASHSEED
    loaders: tuple[tuple[str, int, frozenset[str]], ...] = ()  # file, line, given arguments

    def line(self, file: str, line: int | None) -> SourceLine | None:
        return self.lines.get((file, line)) if line is not None else None

    def fix(self, cause: str, file: str, line: int | None) -> LineFix | None:
        """Returns the fix of a cause at a place in the source; None: no line is known to work."""
        found = self.line(file, line)
        return found.fixes.get(cause) if found is not None else None

    def quoted(self, file: str, line: int | None) -> str:
        """Returns the statement at a place, as one line; empty if it is unknown."""
        found = self.line(file, line)
        return " ".join(row.strip() for row in found.text) if found is not None else ""

    def seeds(self, library: str) -> bool:
        """Returns whether the program seeds random, numpy or torch."""
        return any(call in SEEDS[library] or call.rpartition(".")[2] in SEEDS_ALL for call in self.calls)

    @property
    def deterministic(self) -> bool:
        """Whether the program requests deterministic algorithms."""
        return any(call.rpartition(".")[2] in DETERMINISTIC for call in self.calls)


def source_of(*manifests: Mapping[str, Any]) -> SourceFacts:
    """Returns the section of the first manifest that has one."""
    for manifest in manifests:
        section = manifest.get("source")
        if isinstance(section, Mapping):
            return _facts(section)
    return SourceFacts()


def _facts(section: Mapping[str, Any]) -> SourceFacts:
    lines = {(line.file, line.line): line for line in map(_line, _rows(section, "lines"))}
    seed = section.get("hash_seed_set")
    return SourceFacts(
        known=True,
        lines=lines,
        orders=tuple(map(_order, _rows(section, "orders"))),
        calls=frozenset(_texts(section.get("calls"))),
        hash_seed_set=f"{seed.get('file')}:{seed.get('line')}" if isinstance(seed, Mapping) else "",
        loaders=tuple(
            (_text(row, "file"), _number(row, "line"), frozenset(_texts(row.get("given"))))
            for row in _rows(section, "loaders")
        ),
    )


def _line(row: Mapping[str, Any]) -> SourceLine:
    fixes = row.get("fixes")
    found = {
        str(cause): fix
        for cause, raw in (fixes.items() if isinstance(fixes, Mapping) else ())
        if (fix := _fix(raw)) is not None
    }
    return SourceLine(
        _text(row, "file"), _number(row, "line"), _texts(row.get("text")), found, row.get("loses_order") is True
    )


def _order(row: Mapping[str, Any]) -> OrderedPlace:
    return OrderedPlace(
        file=_text(row, "file"), line=_number(row, "line"), text=_texts(row.get("text")), kind=_text(row, "kind"),
        items=_text(row, "items"), expression=_text(row, "expression"), made_file=_text(row, "made_file"),
        made_line=_number(row, "made_line"), reaches=frozenset(_texts(row.get("reaches"))), fix=_fix(row.get("fix")),
    )  # fmt: skip


def _fix(raw: object) -> LineFix | None:
    if not isinstance(raw, Mapping):
        return None
    old, new = _texts(raw.get("old")), _texts(raw.get("new"))
    return LineFix(old, new, _text(raw, "expression"), _texts(raw.get("imports"))) if old and new else None


def _rows(section: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    rows = section.get(name)
    yield from (row for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0


def _dedented(lines: Sequence[str], first: str) -> list[str]:
    """Returns lines without the indentation of the first line of their statement."""
    width = len(first) - len(first.lstrip())
    return [line[width:] if not line[:width].strip() else line.lstrip() for line in lines]
