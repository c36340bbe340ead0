"""Determines in which steps a run recorded a stage if its probe kept a budget (agent: detctl_probe/recording/sampling.py).

The seal's `budget` lists plans: from step A on, stage X is recorded in the steps that its period divides. Two runs are compared in the
steps that both recorded; a fingerprint that one run left out does not count as a difference. A run with a budget that has not sealed has
not sent its plans yet, so a missing fingerprint means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.domain.fingerprint import Stage, StepEntry, StreamKey

SAMPLED_STAGES = frozenset({Stage.SAMPLE, Stage.FORWARD, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE})
PLANS_MAX = 64


@dataclass(frozen=True)
class Schedule:
    """`plans`: (first step, period), ascending from step 0; None: unknown."""

    plans: tuple[tuple[int, int], ...] | None = ((0, 1),)

    def takes(self, step: int) -> bool:
        """Returns whether the step is certain to be recorded. An unknown schedule makes no step certain."""
        period = 0
        for first, value in self.plans or ():
            if first <= step:
                period = value
        return period > 0 and step % period == 0

    def took(self, step: int, entry: StepEntry | None) -> bool:
        """Returns the same for a step whose entry, or its absence, is known."""
        return entry is not None if self.plans is None else self.takes(step)

    def same_until(self, other: Schedule) -> int | None:
        """Returns the first step at which two schedules may differ; None: they never do."""
        if self.plans is None or other.plans is None:
            return 0
        if self.plans == other.plans:
            return None
        ours, theirs = dict(self.plans), dict(other.plans)
        a = b = 0
        for step in sorted({*ours, *theirs}):
            a, b = ours.get(step, a), theirs.get(step, b)
            if a != b:
                return step
        return None

    @property
    def whole(self) -> bool:
        """Whether every step is certain to be recorded."""
        return self.plans is not None and all(period == 1 for _, period in self.plans)


ALWAYS = Schedule()
UNKNOWN = Schedule(None)


def schedule_of(reader: RunReader, key: StreamKey) -> Schedule:
    """Returns the schedule of one stream. Raises DamagedError if the seal's plans are invalid."""
    if key.stage not in SAMPLED_STAGES:
        return ALWAYS
    seal = reader.seals().get(key.rank)
    budget = seal.detail.get("budget") if seal is not None else None
    if budget is None:
        return UNKNOWN if reader.run.spec.budget_share else ALWAYS
    try:
        return Schedule(_plans(budget, key.stage))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DamagedError(f"the budget's plans of rank {key.rank} are invalid: {error}") from error


def _plans(budget: Mapping[str, object], stage: Stage) -> tuple[tuple[int, int], ...]:
    plans: list[tuple[int, int]] = []
    rows = budget["plans"]
    if not isinstance(rows, list) or not 0 < len(rows) <= PLANS_MAX:
        raise ValueError("no list of plans")
    for row in rows:
        first, period = row["from"], row["periods"].get(stage.word, 1)
        if type(first) is not int or type(period) is not int or period < 1:
            raise ValueError("a plan without step or period")
        if first != 0 if not plans else first <= plans[-1][0]:
            raise ValueError("plans out of order")
        plans.append((first, period))
    # A plan that does not change the period of this stage is left out.
    return tuple(plan for at, plan in enumerate(plans) if at == 0 or plan[1] != plans[at - 1][1])


def since(left: Schedule, right: Schedule, step: int) -> int:
    """Returns the earliest step at which a difference first recorded at `step` may have begun: after the last step that both
    recorded."""
    if left.plans is None or right.plans is None or (left.whole and right.whole):
        return step
    while step > 0 and not (left.takes(step - 1) and right.takes(step - 1)):
        step -= 1
    return step


def steps_taken(left: Schedule, right: Schedule, start: int, stop: int) -> int:
    """Returns how many of the steps from start to stop - 1 both runs recorded."""
    return sum(left.takes(step) and right.takes(step) for step in range(start, stop))
