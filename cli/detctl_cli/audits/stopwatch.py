"""Measures where the time of an audit goes: the parts of the command, and the parts of each run as agents report them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from detctl_proto.v1 import agents_pb2, audits_pb2

from detctl_cli.output.side_by_side import least

# detctl: the start of this command. services: its coordinator and agent. runs: from the first run's assignment to the last one's end.
Part = Literal["detctl", "services", "planning", "runs", "comparing"]
PARTS: tuple[Part, ...] = get_args(Part)
RUN_PARTS = tuple(field.name for field in agents_pb2.RunTimings.DESCRIPTOR.fields)
_PURPOSES = {
    audits_pb2.RUN_PURPOSE_ZOOM: "zoom",
    audits_pb2.RUN_PURPOSE_EXPERIMENT: "experiment",
}
_STATES: dict[str, Part] = {"running": "runs", "comparing": "comparing"}


class Stopwatch:
    """The time of one command. Begins with the process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, age_s: float | None = None) -> None:
        """age_s: how long the process has existed; None: read from /proc."""
        self._monotonic = monotonic
        self._since = monotonic() - (process_age_s() if age_s is None else age_s)
        self._part: Part = "detctl"
        self._seconds: dict[Part, float] = {}
        self._last = audits_pb2.AuditProgress()
        self._measured: dict[str, agents_pb2.SideBySide] = {}  # run -> what its agent measured

    def enter(self, part: Part) -> None:
        """A part begins now, and the one before it ends."""
        now = self._monotonic()
        self._seconds[self._part] = self._seconds.get(self._part, 0.0) + now - self._since
        self._part, self._since = part, now

    def update(self, progress: audits_pb2.AuditProgress) -> None:
        """A message about the audit has arrived."""
        part = _STATES.get(progress.state, self._part)
        if part != self._part:
            self.enter(part)
        self._last = progress
        self._measured |= {run.run_id: run.side_by_side for run in progress.runs if run.HasField("side_by_side")}

    def document(self) -> dict[str, Any]:
        """Returns the times up to now as JSON values."""
        self.enter(self._part)
        seconds = {part: round(self._seconds[part], 3) for part in PARTS if part in self._seconds}
        return {
            "total_s": round(sum(self._seconds.values()), 3),
            "parts": seconds,
            "side_by_side": least(self._measured.values()),
            "runs": [_run(run) for run in self._last.runs if run.HasField("timings")],
        }


def _run(run: audits_pb2.RunStatus) -> dict[str, Any]:
    seconds = {part: round(getattr(run.timings, part), 3) for part in RUN_PARTS}
    return {
        "run": run.label,
        "purpose": _PURPOSES.get(run.purpose, "twin"),
        "beside": run.beside,
        "total_s": round(sum(seconds.values()), 3),
        **{f"{part}_s": value for part, value in seconds.items()},
    }


def process_age_s() -> float:
    """Returns how long this process has existed; 0.0 if that cannot be read."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    return 0.0
