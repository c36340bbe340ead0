"""Reports on stderr how far a recording is, while the training itself prints nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from detctl_proto.heartbeat import clock, heartbeat_s

from detctl_agent.runs.activity import Activity
from detctl_agent.runs.outcome import Progress
from detctl_agent.runs.runner import Runner

_DOING = {
    Activity.PREPARING: "preparing the run",
    Activity.STARTING: "starting Python",
    Activity.IMPORTING: "importing torch",
    Activity.BUILDING: "waiting for the first step",
    Activity.ENDING: "ending the training",
}


def format_progress(progress: Progress, step_to: int | None) -> str:
    """Returns what a run is doing: `step 12 of 32`. step_to: the step before which it ends, None if it trains to its end."""
    if progress.step is not None and progress.activity is Activity.TRAINING:
        return f"step {progress.step + 1}" + (f" of {step_to}" if step_to else "")
    return _DOING.get(progress.activity, "training")


class RecordingProgress:
    """A context manager around a run. A line appears whenever neither the training nor detctl printed anything for an interval."""

    def __init__(self, runner: Runner, step_to: int | None, notify: Callable[[str], None], *, quiet: bool) -> None:
        self._runner, self._step_to, self._notify, self._quiet = runner, step_to, notify, quiet
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _report(self) -> None:
        began, printed = time.monotonic(), 0
        while not self._over.wait(heartbeat_s()):
            before, printed = printed, self._runner.printed_bytes
            if printed == before:
                doing = format_progress(self._runner.progress, self._step_to)
                self._notify(f"{clock(time.monotonic() - began)}: {doing}")
