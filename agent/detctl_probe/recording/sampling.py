"""Decides what is left out, to keep a budget and at level `step`.

**Budget.** `--budget 2%` allows the probe that share of step time. Steps 0 to 2 are recorded whole; then, and again after 4, 8, 16 …
steps, the share is computed from the cost of each stage. While it is too large, the *period* of the most expensive stage is doubled: a
stage of period 4 is taken in the steps whose number 4 divides. Periods only grow. So a plan is a pure function of the step
number, the steps of a longer period are steps of a shorter one too, and two runs whose probes decided differently still
share steps to compare. The seal lists from which step on which periods held; without that list a missing record would be a difference.

Only THINNED stages are left out. Batch, loss, init, rng, order and listings are recorded in every step: they are cheap, or show where
to look.

**Level step** is for runs that are watched always: a plain read of all parameters and gradients would take more than a hundredth of
many a step. It takes each root's output and not what is inside; of gradients, parameters and buffers every fourth in turn, all of them in
the window's last step; batches and not the samples in them; nothing of the optimizer's state. What a parameter hides for up to
three steps shows in the next step's output and loss: at this level a difference of the update may be seen as one of the next forward.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Sequence, Tuple, TypeVar

from detctl_probe.recording.costs import Costs, StepCost, low_median, median
from detctl_probe.settings import Settings

THINNED = ("sample", "forward", "backward", "collective", "update")
PERIOD_MAX = 64
FIRST_DECISION_AFTER = 2  # counted steps; the first step of all is start-up and not counted

TURNS = 4  # level step: every fourth gradient and parameter
LEFT_OUT_AT_STEP = (
    ("sample", "samples of a batch", "level step records only the batch"),
    ("forward", "modules inside a root", "level step records only the outputs of the roots"),
    ("backward", "three of four gradients in each step", "level step records every fourth, in turn"),
    ("update", "three of four parameters and buffers in each step", "level step records every fourth, in turn"),
    ("update", "optimizer state", "level step does not record it; it shows in the next parameters"),
)

Row = TypeVar("Row")


def in_turn(rows: Sequence[Row], step: int, settings: Settings) -> Sequence[Row]:
    """At level step every fourth row, taking turns over four steps; all rows at the end of the window, or if they are few."""
    last = settings.window_end is not None and step >= settings.window_end - 1
    return rows if settings.level != "step" or last or len(rows) < TURNS else rows[step % TURNS :: TURNS]


class Sampling:
    """Which stages are taken in which steps, in one process. share: the budget, None: everything is taken.

    periods: those that hold for the steps to come; plans: (first step, periods) of each change, the first without any.
    """

    def __init__(self, share: Optional[float], only: Optional[Tuple[str, int]] = None) -> None:
        self.share = share
        self._only = only  # the one stage and step that an uninstrumented run records
        self.periods: Dict[str, int] = {}
        self.plans: List[Tuple[int, Dict[str, int]]] = [(0, {})]
        self.kept: Optional[bool] = None  # whether the last decision could keep the budget; None: not decided yet
        self._since = (0, 0.0, 0.0)  # first step of the last plan; step time and cost up to it
        self._held = 0.0
        self._decide_after = FIRST_DECISION_AFTER

    def takes(self, stage: str, step: int) -> bool:
        """Whether a stage is taken in the current step."""
        if self._only is not None:
            return (stage, step) == self._only
        return not self.periods or step % self.periods.get(stage, 1) == 0

    def step_ended(self, costs: Costs, step: int) -> bool:
        """Decides again if it is time to; returns whether the plan changes from step + 1 on."""
        if self.share is None:
            return False
        spent = sum(costs.steps_by_stage.values())
        _, step_s, cost_s = self._since
        self._held = (spent - cost_s) / (costs.steps_s - step_s) if costs.steps_s > step_s else 0.0
        if costs.steps_counted < self._decide_after:
            return False
        self._decide_after *= 2
        periods, self.kept = decided(self.share, self.periods, list(costs.steps), self.plans)
        if periods == self.periods:
            return False
        self.periods = periods
        self.plans.append((step + 1, dict(periods)))
        self._since = (step + 1, costs.steps_s, spent)
        return True

    def report(self) -> Dict[str, object]:
        """The seal's `budget`."""
        plans = [{"from": first, "periods": dict(periods)} for first, periods in self.plans]
        held = {"from": self._since[0], "share": round(self._held, 6)}
        return {"share": self.share, "kept": self.kept, "measured": held, "plans": plans}

    def left_out(self, last_step: int) -> Iterable[Tuple[str, str]]:
        """(stage, which steps) of what was not taken up to last_step."""
        ends = [first - 1 for first, _ in self.plans[1:]] + [last_step]
        for stage in THINNED:
            spans: List[List[int]] = []
            for (first, periods), last in zip(self.plans, ends):  # noqa: B905 - strict came with Python 3.10
                period = periods.get(stage, 1)
                if spans and spans[-1][2] == period:
                    spans[-1][1] = last
                elif period > 1:
                    spans.append([first, last, period])
            for first, last, period in spans:
                if any(step % period for step in range(first, min(last, first + 1) + 1)):
                    yield stage, "steps %d to %d except those that %d divides" % (first, last, period)


def decided(
    share: float, periods: Dict[str, int], steps: Sequence[StepCost], plans: Sequence[Tuple[int, Dict[str, int]]]
) -> Tuple[Dict[str, int], bool]:
    """(periods from now on, whether they keep the budget). A pure function of the measurements.

    Of two samples the lower one counts: one step that the machine held up must not thin the rest of the run. If that thins too little,
    the next decision makes up for it.
    """
    own_s = median([one.step_s - one.cost_s for one in steps])  # the training's own time
    costs: Dict[str, Tuple[float, float]] = {}
    for stage in THINNED:
        taken = [one.by_stage.get(stage, 0.0) for one in steps if one.step % _period_at(plans, one.step, stage) == 0]
        idle = [one.by_stage.get(stage, 0.0) for one in steps if one.step % _period_at(plans, one.step, stage) != 0]
        costs[stage] = low_median(taken), low_median(idle)
    others = {stage for one in steps for stage in one.by_stage} - set(THINNED)
    fixed_s = sum(low_median([one.by_stage.get(stage, 0.0) for one in steps]) for stage in others)
    now = {stage: periods.get(stage, 1) for stage in THINNED}
    while True:
        shares = {stage: max(0.0, costs[stage][0] - costs[stage][1]) / now[stage] for stage in THINNED}
        total_s = fixed_s + sum(shares.values()) + sum(costs[stage][1] for stage in THINNED)
        if total_s <= share * (own_s + total_s):
            kept = True
            break
        longer = [stage for stage in THINNED if now[stage] < PERIOD_MAX and shares[stage] > 0.0]
        if not longer:
            kept = False
            break
        now[max(longer, key=lambda stage: shares[stage])] *= 2
    return {stage: period for stage, period in now.items() if period > 1}, kept


def _period_at(plans: Sequence[Tuple[int, Dict[str, int]]], step: int, stage: str) -> int:
    period = 1
    for first, periods in plans:
        if first <= step:
            period = periods.get(stage, 1)
    return period
