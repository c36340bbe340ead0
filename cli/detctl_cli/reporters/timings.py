"""Shows where the time of an audit or of a recording went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from detctl_cli.output.clean import clean
from detctl_cli.output.side_by_side import why_side_by_side
from detctl_cli.reporters.run_names import short_names
from detctl_cli.reporters.tables import Cell, write_table

if TYPE_CHECKING:
    from rich.console import Console

_PARTS = {
    "detctl": "starting detctl",
    "services": "starting coordinator and agent",
    "planning": "planning",
    "runs": "runs",
    "comparing": "comparing",
}
_RUN_PARTS = {
    "preparing_s": "prepare",
    "manifest_s": "manifest",
    "known_answers_s": "known answers",
    "starting_s": "start Python",
    "importing_s": "import torch",
    "building_s": "to 1st step",
    "training_s": "other steps",
    "ending_s": "end",
    "sending_s": "send",
}
SHOWN_MIN_S = 0.05


def write_timings(timings: Mapping[str, Any], out: Console) -> None:
    """Writes the parts of the command, and a table of its runs without the parts that took no time."""
    parts = [(_PARTS.get(part, part), seconds) for part, seconds in timings["parts"].items()]
    width = max(len(name) for name, _ in [*parts, ("in all", 0)])
    out.print()
    for name, seconds in [*parts, ("in all", timings["total_s"])]:
        out.print(f"  {name:<{width}}  {seconds:7.1f} s", highlight=False)
    out.print()
    write_table(timings["runs"], run_columns(timings["runs"]), out, if_empty="no run has ended")
    if line := why_side_by_side(timings.get("side_by_side")):
        out.print(f"  {line}", highlight=False)


def run_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Cell]:
    """Returns the columns of the table, without parts that took no time in any run."""
    names = short_names([clean(row["run"]) for row in rows])

    def seconds(key: str) -> Cell:
        return lambda row: f"{row[key]:.1f}" if row[key] >= SHOWN_MIN_S else ""

    columns: dict[str, Cell] = {"run": lambda row: names[clean(row["run"])], "seconds": seconds("total_s")}
    columns |= {title: seconds(key) for key, title in _RUN_PARTS.items() if any(r[key] >= SHOWN_MIN_S for r in rows)}
    if any(row["beside"] for row in rows):
        columns["beside"] = lambda row: str(row["beside"] or "")
    return columns


def write_recording_timings(timings: Mapping[str, float], out: Console) -> None:
    """Writes the parts of a recorded run. timings: RunTimings of run.json."""
    parts = [(title, float(timings.get(key.removesuffix("_s"), 0.0))) for key, title in _RUN_PARTS.items()]
    shown = [(title, seconds) for title, seconds in parts if seconds >= SHOWN_MIN_S]
    for title, seconds in [*shown, ("in all", sum(seconds for _, seconds in parts))]:
        out.print(f"  {title:<13}  {seconds:7.1f} s", highlight=False)
