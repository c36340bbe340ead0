"""Measures the parts of a run from its assignment to the acknowledgement of its data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from detctl_proto.recordings.run_timings import RunTimings

from detctl_agent.recording.training_times import TrainingTimes

Before = Literal["manifest", "known_answers"]


class RunClock:
    """The clock of one run. It is started when the agent begins with the run."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._spent: dict[Before, float] = {}
        self._launched: float | None = None
        self._ended: float | None = None

    @contextmanager
    def measure(self, part: Before) -> Iterator[None]:
        """Adds the time of the block to a part of the preparation."""
        started = self._monotonic()
        try:
            yield
        finally:
            self._spent[part] = self._spent.get(part, 0.0) + self._monotonic() - started

    def launch(self) -> None:
        """The process of the training starts now."""
        self._launched = self._monotonic()

    def end(self) -> None:
        """No process of the training is left."""
        self._ended = self._monotonic()

    def timings(self, seen: TrainingTimes) -> RunTimings:
        """Returns the parts up to the end of the training."""
        if self._launched is None:
            return RunTimings.of(RunTimings(preparing=self._monotonic() - self._began))
        before = sum(self._spent.values())
        return RunTimings.of(
            replace(
                training_parts(self._launched, self._ended or self._monotonic(), seen),
                preparing=self._launched - self._began - before,
                manifest=self._spent.get("manifest", 0.0),
                known_answers=self._spent.get("known_answers", 0.0),
            )
        )

    def sent(self, timings: RunTimings) -> RunTimings:
        """Returns the timings with the time that sending took until now."""
        return (
            timings if self._ended is None else RunTimings.of(replace(timings, sending=self._monotonic() - self._ended))
        )


def training_parts(launched: float, ended: float, seen: TrainingTimes) -> RunTimings:
    """Returns the parts between the start of the process and its end. A part that was not seen belongs to the one before it.

    Times outside of the run, such as those of a container with a clock of its own, do not count. Pure."""
    last_step = _within(launched, seen.last_step_ended, ended)
    first_step = _within(launched, seen.first_step_ended, last_step if last_step is not None else ended)
    import_ended = _within(launched, seen.import_ended, first_step if first_step is not None else ended)
    import_began = _within(launched, seen.import_began, import_ended) if import_ended is not None else None
    marks = {
        "starting": launched,
        "importing": import_began,
        "building": import_ended,
        "training": first_step,
        "ending": last_step,
    }
    known = [(part, at) for part, at in marks.items() if at is not None]
    ends = [at for _, at in known[1:]] + [ended]
    return RunTimings(**{part: end - at for (part, at), end in zip(known, ends, strict=True)})


def _within(first: float, at: float | None, last: float | None) -> float | None:
    return at if at is not None and last is not None and first <= at <= last else None
