"""Writes the comparison of two checkpoints: what differs, by how much, and what could not be read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detctl_cli.output.clean import clean
from detctl_cli.output.times import count

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 12
LABEL_WIDTH = 19
_STYLE = {"identical": "bold green", "different": "bold red", "unverified": "bold yellow"}


def write_checkpoints(document: Mapping[str, Any], out: Console) -> None:
    """Writes detctl.checkpoints/v1 to `out`."""
    out.print(clean(document["outcome"]).upper(), style=_STYLE.get(document["outcome"], "bold"))
    for label, text in rows(document):
        out.print(f"  {label:<{LABEL_WIDTH}}{text}", soft_wrap=True)


def rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (label, text) of every line under the outcome."""
    for number, side in enumerate((document["a"], document["b"])):
        what = f"{side['format']}, {count(side['leaves'])} {'entry' if side['leaves'] == 1 else 'entries'}"
        yield ("checkpoints" if number == 0 else ""), f"{clean(side['path'])}   {what}"
    yield from _section_rows(document["sections"])
    differing = document["differing"]
    shown = _largest(differing)
    if differing:
        which = f", the {SHOWN} largest of them" if len(shown) < len(differing) else ""
        yield "differ", f"{_tensors(len(differing))}{which}, in the order of the first checkpoint:"
    for row in shown:
        yield "", f"{clean(row['name'])}   {describe_tensor(row)}"
    if len(shown) < len(differing):
        yield "", f"and {count(len(differing) - len(shown))} more (--json lists them)"
    values = [f"{clean(r['name'])}: {clean(r['a'])} against {clean(r['b'])}" for r in document["values"]]
    yield from _listed("other values", values)
    yield from _listed("only in the first", [clean(name) for name in document["only_a"]])
    yield from _listed("only in the second", [clean(name) for name in document["only_b"]])
    yield from _listed("not read", [f"{clean(row['name'])}: {clean(row['why'])}" for row in document["unread"]])
    for text in document["notes"]:
        yield "note", clean(text)


def _section_rows(sections: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(sections):
        parts = []
        for all_of, apart, word in (("tensors", "differing", "tensor"), ("values", "other_values", "value")):
            if one[all_of]:
                how = f"{count(one[apart])} differ" if one[apart] else "identical"
                parts.append(f"{count(one[all_of])} {word}{'s' if one[all_of] != 1 else ''}, {how}")
        yield ("compared" if number == 0 else ""), f"{clean(one['section']):<11}{'; '.join(parts)}"


def _largest(differing: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the largest differences by relative size, in their own order. Another shape or dtype counts as largest."""

    def size(place: int) -> tuple[float, int]:
        relative = differing[place].get("relative")
        return (math.inf if relative is None else float(relative)), -place

    chosen = sorted(range(len(differing)), key=size, reverse=True)[:SHOWN]
    return [differing[place] for place in sorted(chosen)]


def describe_tensor(row: Mapping[str, Any]) -> str:
    """Returns `3 of 64 elements from [1, 2] on, relative 1.2e-08, at most 3.7e-09, 1 ulp`."""
    if row["kind"] != "content":
        text = f"{row['dtype']} {row['shape']} against {row['other_dtype']} {row['other_shape']}"
        return text + (", the same values rounded" if row.get("rounded") else "")
    parts = [f"{count(row['differing'])} of {count(row['elements'])} elements from {row['first']} on"]
    if row.get("relative") is not None:
        parts.append(f"relative {row['relative']:.2g}")
    if row.get("max_abs") is not None:
        parts.append(f"at most {row['max_abs']:.2g}")
    if row.get("max_ulp") is not None:
        parts.append(f"{_ulp(row['max_ulp'])} ulp")
    if row.get("non_finite"):
        parts.append(f"{count(row['non_finite'])} with NaN or infinity on one side")
    return ", ".join(parts)


def _ulp(number: int) -> str:
    return count(number) if number < 1e9 else f"{number:.1e}"


def _tensors(number: int) -> str:
    return f"{count(number)} tensor{'s' if number != 1 else ''}"


def _listed(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines[:SHOWN]):
        yield (label if number == 0 else ""), line
    if len(lines) > SHOWN:
        yield "", f"and {count(len(lines) - SHOWN)} more (--json lists them)"
