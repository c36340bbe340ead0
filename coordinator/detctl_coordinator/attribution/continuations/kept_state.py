"""Compares what objects of the user's script keep from step to step, in a run that continues another and in that other. Pure.

The probe notes it before the first step of a process, and again, as far as it has changed, after a file was saved or a loader was started
(agent: detctl_probe/observe/optimization/kept_state.py). A value is lost if the whole run had changed it by the continued step, and the
resumed run has another one there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detctl_coordinator.attribution.evidence.facts import place
from detctl_coordinator.comparison.reader import RunReader

KIND = "kept-state"
# Counters of torch's schedulers that do not decide the next rate.
UNIMPORTANT = ("._step_count",)


@dataclass(frozen=True)
class KeptValue:
    """One value. kind: as the probe names it. where: `file:line` of what makes it; empty: unknown. path: how the script reaches it."""

    site: str
    kind: str
    digest: str
    text: str
    where: str = ""
    path: str = ""
    type: str = ""

    @property
    def length(self) -> int:
        """The number of items of a list."""
        number = self.text.partition(" ")[0]
        return int(number) if number.isdigit() else 0


@dataclass(frozen=True)
class LostValue:
    """A value that was not restored: `expected` in the whole run, `found` in the resumed one. again: it has the value of the whole
    run's start, or it is a list that has filled again from there."""

    expected: KeptValue
    found: KeptValue
    again: bool

    @property
    def site(self) -> str:
        return self.found.site

    @property
    def description(self) -> str:
        """Returns `Curriculum.level (train.py:7) is 0.0 instead of 0.1`."""
        name = f"{self.site} ({self.found.where})" if self.found.where else self.site
        if self.found.kind in ("generator", "loader"):
            return f"The state of {name} {'is that of the start' if self.again else 'is another'}."
        if self.found.text != self.expected.text:
            return f"{name} is {self.found.text} instead of {self.expected.text}."
        return f"{name} has other values."


@dataclass(frozen=True)
class KeptCompared:
    """What was lost and what was restored, each by the kind of the value. equal: sites of what was restored."""

    lost: Mapping[str, tuple[LostValue, ...]]
    restored: frozenset[str]
    equal: frozenset[str] = frozenset()

    def of(self, kind: str) -> tuple[LostValue, ...]:
        return self.lost.get(kind, ())


NOTHING = KeptCompared({}, frozenset())


def compare_kept(whole: RunReader, resumed: RunReader, rank: int, step: int) -> KeptCompared:
    """Returns what the resumed run restored of the state that the whole one had before a step. Nothing if that was not noted."""
    notes, others = _notes(whole, rank), _notes(resumed, rank)
    changed = next((_values(note) for note in notes if note.get("step") == step), None)
    begin = next((_values(note) for note in others if note.get("first")), None)
    first = next((_values(note) for note in notes if note.get("first")), None)
    if changed is None or begin is None or first is None:
        return NOTHING
    lost: dict[str, list[LostValue]] = {}
    restored, equal = set(), set()
    for site, found in begin.items():
        expected, start = changed.get(site), first.get(site)
        if expected is None or start is None or expected.digest == start.digest or site.endswith(UNIMPORTANT):
            continue
        if expected.digest == found.digest:
            restored.add(found.kind)
            equal.add(site)
        else:
            again = found.digest == start.digest or (found.kind == "list" and 2 * found.length < expected.length)
            lost.setdefault(found.kind, []).append(LostValue(expected, found, again))
    return KeptCompared({kind: tuple(rows) for kind, rows in lost.items()}, frozenset(restored), frozenset(equal))


def _notes(reader: RunReader, rank: int) -> list[Mapping[str, Any]]:
    seal = reader.seals().get(rank)
    notes = seal.detail.get("notes") if seal is not None else None
    return [note for note in notes or () if isinstance(note, Mapping) and note.get("kind") == KIND]


def _values(note: Mapping[str, Any]) -> dict[str, KeptValue]:
    rows = note.get("values")
    found = {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and isinstance(row.get("site"), str):
            fields = {key: str(row.get(key) or "") for key in ("site", "kind", "digest", "text", "path", "type")}
            found[fields["site"]] = KeptValue(where=place(row), **fields)
    return found
