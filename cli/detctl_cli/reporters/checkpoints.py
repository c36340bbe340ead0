"""Two compared checkpoints for people: what differs, by how much, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detctl_cli.clean import clean

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 12
LABEL_WIDTH = 19


def print_checkpoints(document: Mapping[str, Any], out: Console) -> None:
    """Writes detctl.checkpoints/v1 to `out`."""
    out.print(clean(document["outcome"]).upper(), style="bold")
    for label, text in _rows(document):
        out.print(f"  {label:<{LABEL_WIDTH}}{text}", soft_wrap=True)


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, side in enumerate((document["a"], document["b"])):
        yield (
            ("checkpoints" if number == 0 else ""),
            f"{clean(side['path'])}   {side['format']}, {side['leaves']} values",
        )
    compared = document["compared"]
    yield "compared", f"{compared['tensors']} tensors, {compared['values']} other values"
    differing = document["differing"]
    if differing:
        yield "differ", f"{len(differing)} of {compared['tensors']} tensors, in the order of the first checkpoint"
    yield from _cut([f"{clean(row['name'])}   {_tensor_words(row)}" for row in differing])
    yield from _listed(
        "other values", [f"{clean(r['name'])}: {clean(r['a'])} against {clean(r['b'])}" for r in document["values"]]
    )
    yield from _listed("only in the first", [clean(name) for name in document["only_a"]])
    yield from _listed("only in the second", [clean(name) for name in document["only_b"]])
    yield from _listed("not read", [f"{clean(row['name'])}: {clean(row['why'])}" for row in document["unread"]])
    for text in document["notes"]:
        yield "note", clean(text)


def _tensor_words(row: Mapping[str, Any]) -> str:
    if row["kind"] != "content":
        return f"{row['dtype']} {row['shape']} against {row['other_dtype']} {row['other_shape']}"
    parts = [f"{row['differing']} of {row['elements']} elements"]
    for key, word in (("relative", "relative"), ("max_abs", "at most"), ("max_ulp", "ulp at most")):
        value = row.get(key)
        if value is not None:
            parts.append(
                f"{value} {word}"
                if key == "max_ulp"
                else f"{value:.2g} {word}"
                if key == "relative"
                else f"{word} {value:.2g}"
            )
    return ", ".join(parts)


def _listed(label: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, (_, text) in enumerate(_cut(lines)):
        yield (label if number == 0 else ""), text


def _cut(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines[:SHOWN]:
        yield "", line
    if len(lines) > SHOWN:
        yield "", f"and {len(lines) - SHOWN} more (--json lists them)"
