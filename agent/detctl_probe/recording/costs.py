"""Measures the probe's own cost: seconds by stage, and their share of the step time.

Every entry into the probe is timed (`recorder.working(stage)`, and Guarded, which does not set `busy`). Entries nest, and the time counts
once, for the innermost stage. Work that belongs to no stage (frames, seals) is `other`. The cost of DataLoader workers travels with their
batches and is counted separately: it runs beside the training, not in its step time.

A share is cost / wall time of a step, the probe included. The first recorded step does not count: its time is start-up.
"""

from __future__ import annotations

import threading
from collections import deque
from time import perf_counter  # before an observer patches it
from typing import Deque, Dict, List, Mapping, NamedTuple, Optional, Sequence

OTHER = "other"
STEPS_KEPT = 256  # for medians


class StepCost(NamedTuple):
    """One step: its wall time, and the probe's part of it by stage (stages without any are left out)."""

    step: int
    step_s: float
    by_stage: Dict[str, float]

    @property
    def cost_s(self) -> float:
        return sum(self.by_stage.values())


class _Meter:
    """The meter of one thread; a plain object, since reading a threading.local costs more than all the rest."""

    __slots__ = ("depth", "since", "stage")

    def __init__(self) -> None:
        self.depth = 0
        self.stage = OTHER
        self.since = 0.0


class _Local(threading.local):
    def __init__(self) -> None:
        self.meter = _Meter()


class Costs:
    """The meter of one process."""

    def __init__(self) -> None:
        self._local = _Local()
        self.by_stage: Dict[str, float] = {}
        self.workers: Dict[str, float] = {}
        self.steps: Deque[StepCost] = deque(maxlen=STEPS_KEPT)
        self.steps_counted = 0
        self.steps_s = 0.0  # wall time of the counted steps
        self.steps_by_stage: Dict[str, float] = {}  # the probe's part of it
        self._ended_at: Optional[float] = None
        self._before: Dict[str, float] = {}

    def enter(self, stage: str = "") -> str:
        """Starts the clock of this thread, for `stage` or, without one, for the current stage. Pass the result to leave()."""
        meter = self._local.meter
        now = perf_counter()
        outer = meter.stage
        if not meter.depth:
            meter.stage = stage or OTHER
            meter.since = now
        elif stage and stage != outer:
            self._charge(outer, now - meter.since)
            meter.stage = stage
            meter.since = now
        meter.depth += 1
        return outer

    def leave(self, outer: str) -> None:
        """Ends an enter()."""
        meter = self._local.meter
        if not meter.depth:
            return  # the thread has forked meanwhile
        meter.depth -= 1
        stage = meter.stage
        if not meter.depth or outer != stage:
            now = perf_counter()
            self._charge(stage, now - meter.since)
            meter.since = now
            meter.stage = outer

    def _charge(self, stage: str, seconds: float) -> None:
        self.by_stage[stage] = self.by_stage.get(stage, 0.0) + seconds

    def take_all(self) -> Dict[str, float]:
        """Returns the cost since the last call; a worker sends it along with a batch."""
        spent, self.by_stage = self.by_stage, {}
        return spent

    def add_worker(self, spent: Mapping[str, float]) -> None:
        """Adds the cost of a batch in a worker."""
        for stage, seconds in spent.items():
            self.workers[stage] = self.workers.get(stage, 0.0) + seconds

    def end_step(self, step: int) -> None:
        """A recorded step has ended."""
        now = perf_counter()
        meter = self._local.meter
        if meter.depth:  # what is under way belongs to the step up to here
            self._charge(meter.stage, now - meter.since)
            meter.since = now
        before, self._before = self._before, dict(self.by_stage)
        last, self._ended_at = self._ended_at, now
        if last is None:
            return
        spent = {stage: total - before.get(stage, 0.0) for stage, total in self._before.items()}
        spent = {stage: seconds for stage, seconds in spent.items() if seconds > 0.0}
        self.steps.append(StepCost(step, now - last, spent))
        self.steps_counted += 1
        self.steps_s += now - last
        for stage, seconds in spent.items():
            self.steps_by_stage[stage] = self.steps_by_stage.get(stage, 0.0) + seconds

    def report(self) -> Dict[str, object]:
        """The seal's keys of cost; frames.py documents them."""
        return {
            "cost_s": round(sum(self.by_stage.values()), 6),
            "cost_by_stage": _rounded(self.by_stage),
            "worker_cost_by_stage": _rounded(self.workers),
            "step_s": {
                "steps": self.steps_counted,
                "total": round(self.steps_s, 6),
                "median": round(median([one.step_s for one in self.steps]), 6),
            },
            "share": {
                "median": round(median([one.cost_s / one.step_s for one in self.steps if one.step_s > 0.0]), 6),
                "total": round(sum(self.steps_by_stage.values()) / self.steps_s, 6) if self.steps_s else 0.0,
                "by_stage": {
                    stage: round(seconds / self.steps_s, 6) for stage, seconds in _dearest(self.steps_by_stage)
                }
                if self.steps_s
                else {},
            },
        }


def median(values: Sequence[float]) -> float:
    """The median; 0 of no values."""
    ranked = sorted(values)
    if not ranked:
        return 0.0
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def low_median(values: Sequence[float]) -> float:
    """The lower of the two middle values; 0 of no values."""
    return sorted(values)[(len(values) - 1) // 2] if values else 0.0


def _dearest(costs: Dict[str, float]) -> "List[tuple[str, float]]":
    return sorted(costs.items(), key=lambda item: -item[1])


def _rounded(costs: Dict[str, float]) -> Dict[str, float]:
    return {stage: round(seconds, 6) for stage, seconds in _dearest(costs)}
