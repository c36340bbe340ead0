"""Writes a verdict as one self-contained page. It has no script and sends no request; its content policy forbids both."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_proto.files.private_files import private
from detctl_proto.security.redaction import redact_document

from detctl_cli.errors import CliError, UsageError
from detctl_cli.output.clean import clean

LABELS_PX, WIDTH_PX, ROW_PX = 90, 1000, 20
CURVE_TOP_PX, CURVE_BOTTOM_PX = 14, 130
TICKS = 8
COLOURS = {"identical": "equal", "different": "different", "unverified": "one-sided"}


def check_writable(file: Path) -> None:
    """Raises UsageError if the page cannot be written, before anything runs."""
    folder = file.parent if str(file.parent) else Path()
    if file.is_dir():
        raise UsageError(f"--html {file} is a folder", "name a file, such as report.html")
    if not folder.is_dir():
        raise UsageError(f"--html {file}: there is no folder {folder}", f"create it with mkdir -p {folder}")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UsageError(f"--html {file} cannot be written", "name a file in a folder that you can write")


def write_page(verdict: Mapping[str, Any], file: Path) -> None:
    """Writes the page (mode 0600), whole or not at all. Raises CliError if the file cannot be written."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(partial, "w", encoding="utf-8", opener=private) as stream:
            stream.write(page(verdict))
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CliError(
            "output", f"{file} was not written: {error.strerror or error}", "name another file with --html"
        ) from None


def page(verdict: Mapping[str, Any]) -> str:
    """Returns the page of a verdict (detctl.verdict/v1). Missing keys are left out."""
    from jinja2 import Environment, PackageLoader

    shown: dict[str, Any] = _cleaned(redact_document(verdict))
    coverage = shown.get("coverage") or {}
    zoom = shown.get("zoom") or {}
    environment = shown.get("environment") or {}
    outcome = str(shown.get("outcome", "unverified"))
    templates = Environment(loader=PackageLoader("detctl_cli.reporters", "."), autoescape=True, trim_blocks=True)
    text: str = templates.get_template("verdict.html.j2").render(
        outcome=outcome,
        colour=COLOURS.get(outcome, "one-sided"),
        headline=_headline(shown),
        audit=shown.get("audit"),
        recipe=shown.get("recipe"),
        emulated=shown.get("emulated"),
        groups=shown.get("groups") or [],
        machines=[(name, _repeats(machine)) for name, machine in (shown.get("machines") or {}).items()],
        unverified=shown.get("unverified_because") or [],
        causes=shown.get("causes") or [],
        fix=shown.get("cheapest_fix"),
        operation=zoom.get("words"),
        maps=[_map(one) for one in shown.get("maps") or []],
        experiments=shown.get("experiments") or [],
        self_test=(shown.get("self_test") or {}).get("checks"),
        configurations=list(dict.fromkeys(name for values in environment.values() for name in values)),
        environment=list(environment.items()),
        benign=[
            f"step {b.get('step')} · {b.get('stage')} · {b.get('site')}: {b.get('words')}"
            for b in shown.get("benign") or []
        ],
        covered=_covered(coverage),
        unobserved=[*(coverage.get("not_observed") or []), *(coverage.get("unobserved") or [])],
        notes=shown.get("notes") or [],
    )
    return text


def _cleaned(value: Any) -> Any:
    """Returns a value without control characters."""
    if isinstance(value, Mapping):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    # Files of the training are shown as the user names them.
    return clean(value).replace("{cwd}/", "") if isinstance(value, str) else value


def _headline(verdict: Mapping[str, Any]) -> str:
    if verdict.get("outcome") != "different":
        return ""
    causes = ", ".join(f"{cause['cause']} ({cause['confidence']})" for cause in verdict.get("causes") or [])
    left = " or ".join(verdict.get("not_separated") or [])
    origin = verdict.get("origin") or f"not proved{f' ({left})' if left else ''}"
    return f"origin: {origin}" + (f" · causes: {causes}" if causes else " · no cause identified")


def _repeats(machine: Mapping[str, Any]) -> str:
    repeats = machine.get("repeats_itself")
    if repeats is None:
        return "has no twins"
    return "reproduces its own result" if repeats else "does not reproduce its own result"


def _covered(coverage: Mapping[str, Any]) -> str:
    steps = coverage.get("steps") or []
    first, last = steps if len(steps) == 2 else (0, None)
    over = f"steps {first} to {'the end' if last is None else last - 1}"
    return f"{', '.join(coverage.get('stages') or []) or 'nothing'}; {over}, level {coverage.get('level') or '–'}"


def _map(one: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the map in pixels: a row for each stage, a cell for adjacent steps with the same result, ticks, and the curve below."""
    stages = one.get("stages") or {}
    end = max((last for cells in stages.values() for _, last, _ in cells), default=0) + 1
    step_px = (WIDTH_PX - LABELS_PX) / end
    gap = 1 if step_px > 4 else 0
    rows = [
        {
            "stage": stage,
            "y": at * ROW_PX,
            "cells": [
                {
                    "first": first,
                    "last": last,
                    "word": word,
                    "x": round(LABELS_PX + first * step_px, 1),
                    "width": round(max((last - first + 1) * step_px - gap, 1), 1),
                }
                for first, last, word in cells
            ],
        }
        for at, (stage, cells) in enumerate(stages.items())
    ]
    every = max(1, -(-end // TICKS))
    ticks = [{"step": step, "x": round(LABELS_PX + (step + 0.5) * step_px, 1)} for step in range(0, end, every)]
    return {
        "runs": one.get("runs") or [],
        "rows": rows,
        "ticks": ticks,
        "width": WIDTH_PX,
        "height": len(rows) * ROW_PX + 20,
        "curve": _curve(one.get("loss") or [], step_px),
    }


def _curve(sizes: Sequence[Any], step_px: float) -> dict[str, Any] | None:
    """Returns the curve on a logarithmic scale. Identical steps lie on its lowest line. None if no difference is known."""
    known = [(step, size) for step, size in sizes if size is not None]
    above = [size for _, size in known if size > 0]
    if not above:
        return None
    low, high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
    high = max(high, low + 1)

    def y(size: float) -> float:
        share = (math.log10(size) - low) / (high - low) if size > 0 else 0.0
        return round(CURVE_BOTTOM_PX - share * (CURVE_BOTTOM_PX - CURVE_TOP_PX), 1)

    dots = [
        {"x": round(LABELS_PX + (step + 0.5) * step_px, 1), "y": y(size), "step": step, "words": f"{size:.2g}"}
        for step, size in known
    ]
    return {
        "dots": dots,
        "points": " ".join(f"{dot['x']},{dot['y']}" for dot in dots),
        "lines": [{"y": y(10.0**power), "words": f"1e{power}"} for power in _powers(low, high)],
    }


def _powers(low: int, high: int) -> Iterable[int]:
    return range(low, high + 1, max(1, (high - low) // 4))
