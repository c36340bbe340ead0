"""Escalation: where two runs part in a computed stage, the same two arms run that one step again at level `op`.

The first verdict stands whatever comes of it: a closer look names the operation, its line and how much it differs, and says so where
the runs agree this time, or part before the operation that is looked at. Pure, given readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.evidence import NUMERIC
from detctl_coordinator.comparison.first_divergent_operation import Culprit, culprit
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison, compare_pair
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.domain.fingerprint import Phase
from detctl_coordinator.domain.run import RunRecord, RunSpec, RunState
from detctl_coordinator.domain.verdict import Zoom

LEVEL = "op"
# Twins part by chance, and may do so earlier the next time: they are looked at from the start where that is near, and in more steps.
STEPS_OF_TWINS = 4
NEAR_START = 8


@dataclass(frozen=True)
class Target:
    """What to look at: the two runs that part, and the step."""

    left: RunSpec
    right: RunSpec
    step: int


def zoom_target(case: Case) -> Target | None:
    """The earliest root in a computed stage; None where differences enter through data, seeds or files, or where op is the level."""
    found = _first_computed(case)
    if found is None or found[1].left.level == LEVEL:
        return None
    root, pair = found
    return Target(pair.left.run.spec, pair.right.run.spec, root.step)


def operation(case: Case) -> Zoom | None:
    """What runs that were recorded at level op show by themselves."""
    found = _first_computed(case)
    if found is None or found[1].left.level != LEVEL:
        return None
    root, pair = found
    said = Zoom(step=root.step, level=LEVEL, runs=[case.label(pair.left), case.label(pair.right)], words="")
    try:
        return _told(said, culprit(pair, root.step))
    except DamagedError as error:
        return said.model_copy(update={"words": f"stored data is damaged ({error}); record it again"})


def _first_computed(case: Case) -> tuple[NodeDifference, PairComparison] | None:
    found = [
        (root, pair)
        for pair in case.compared
        if pair.different and pair.united is None
        for root in pair.roots
        if root.node.stage in NUMERIC and root.node.phase is Phase.TRAIN
    ]
    return min(found, key=lambda item: (item[0].step, item[0].node), default=None)


def zoom_specs(target: Target, audit_id: str, number: int) -> tuple[RunSpec, RunSpec]:
    """Specs of the two runs; `number`: how many runs the audit has."""
    twins = target.left.arm == target.right.arm
    first = 0 if twins and target.step < NEAR_START else target.step
    left, right = (
        replace(
            spec,
            run_id=f"{audit_id}.{number + place:03d}",
            twin=place if twins else 0,
            level=LEVEL,
            step_from=first,
            step_to=target.step + (STEPS_OF_TWINS if twins else 1),
            purpose="zoom",
        )
        for place, spec in enumerate((target.left, target.right))
    )
    return left, right


def look_closer(runs: Sequence[RunRecord], readers: Sequence[RunReader]) -> Zoom:
    """What the two zoom runs show; never raises for what they contain."""
    left, right = readers
    step = left.run.spec.step_from
    said = Zoom(step=step, level=LEVEL, runs=[run.spec.label for run in runs], words="")
    for run in runs:
        if run.state is not RunState.SEALED:
            why = f": {run.message}" if run.message else ""
            return said.model_copy(update={"words": f"{run.spec.label} came to no end ({run.state.value}{why})"})
    try:
        pair = compare_pair(left, right)
        if pair.incomparable:
            return said.model_copy(update={"words": pair.incomparable})
        computed = [d for d in pair.differences.values() if d.node.stage in NUMERIC and d.node.phase is Phase.TRAIN]
        if not computed:
            words = f"run again, the two agree from step {step} on: the difference comes and goes"
            return said.model_copy(update={"words": words})
        first = min(d.step for d in computed)
        return _told(said.model_copy(update={"step": first}), culprit(pair, first))
    except DamagedError as error:
        return said.model_copy(update={"words": f"stored data is damaged ({error}); run the audit again"})


def _told(said: Zoom, found: Culprit | str) -> Zoom:
    if isinstance(found, str):
        return said.model_copy(update={"words": found})
    return said.model_copy(
        update={
            "op": found.op,
            "stage": found.stage.word,
            "site": found.site,
            "at": list(found.at),
            "relative": _finite(found.relative),
            "ulp": _finite(found.ulp),
            "words": found.words,
        }
    )


def _finite(value: float | None) -> float | None:
    """JSON has no Inf."""
    return value if value is not None and math.isfinite(value) else None
