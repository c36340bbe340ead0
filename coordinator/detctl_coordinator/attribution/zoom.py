"""Zoom: if computed values diverge, the same two configurations rerun that one step at level `op`.

A zoom names the first divergent operation, its source line and the size of the difference, element by element if the recipe allows that
values are kept. It also reports if the runs agree this time, or if they diverge before that step. Signatures take the measured size as
evidence (`Looked`). Pure: readers are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC
from detctl_coordinator.attribution.measured.closer_look import Looked
from detctl_coordinator.attribution.measured.racing_operations import may_race
from detctl_coordinator.attribution.measured.size_description import describe_size
from detctl_coordinator.comparison.first_divergent_operation import DivergentInput, Found, first_divergent_operation
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison, compare_pair
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.roots import BEFORE_STEP, Node
from detctl_coordinator.comparison.sizes.kept_values import Measured
from detctl_coordinator.domain.fingerprint import Phase, Stage
from detctl_coordinator.domain.run import RunRecord, RunSpec, RunState
from detctl_coordinator.domain.verdict import MeasuredChange, MeasuredElements, Zoom

LEVEL = "op"
# Twins diverge at random, perhaps earlier next time, so more steps are recorded, and all from the start if that is near.
STEPS_OF_TWINS = 4
NEAR_START = 8


@dataclass(frozen=True)
class Target:
    """The two runs that diverge, and the step to rerun. `values`: the stages of which values are kept; empty: none may be."""

    left: RunSpec
    right: RunSpec
    step: int
    values: str = ""


def zoom_target(case: Case) -> Target | None:
    """Returns the earliest root in a computed stage. None: differences enter through data, seeds or files, or the level is op."""
    found = _first_computed(case)
    if found is None or found[1].left.level == LEVEL:
        return None
    root, pair = found
    allowed = all(
        value_at(case.facts(reader).manifest, "recipe", "allow_values") is True for reader in (pair.left, pair.right)
    )
    return Target(pair.left.run.spec, pair.right.run.spec, root.step, _stages_of(root, pair) if allowed else "")


def _stages_of(root: NodeDifference, pair: PairComparison) -> str:
    """Returns the stages in which the first divergent operation can lie: that of the root, and earlier ones that were not recorded."""
    earlier = [s for s in NUMERIC if s < root.node.stage and s is not Stage.INIT and Node(s) not in pair.observed]
    return "+".join(stage.word for stage in (*earlier, root.node.stage))


def looked(case: Case, zoom: Zoom | None) -> Looked | None:
    """Returns a zoom as evidence about the root that it was made for."""
    found = _first_computed(case)
    if zoom is None or found is None:
        return None
    root, pair = found
    return Looked(zoom, root.node, root.step, pair.left.run.spec.arm == pair.right.run.spec.arm)


def operation(case: Case) -> Zoom | None:
    """Returns the first divergent operation of runs that were recorded at level op; None for other levels."""
    found = _first_computed(case)
    if found is None or found[1].left.level != LEVEL:
        return None
    root, pair = found
    zoom = Zoom(step=root.step, level=LEVEL, runs=[case.label(pair.left), case.label(pair.right)], words="")
    try:
        return _with_operation(zoom, first_divergent_operation(pair, root.step), pair)
    except DamagedError as error:
        return zoom.model_copy(update={"words": f"stored data is damaged ({error}); record it again"})


def _first_computed(case: Case) -> tuple[NodeDifference, PairComparison] | None:
    found = [
        (root, pair)
        for pair in case.compared
        if pair.different
        and pair.united is None
        and pair.continuation is None  # its steps are not those of one of the runs
        for root in pair.roots
        if root.node.stage in NUMERIC and root.node.phase is Phase.TRAIN and root.node.part != BEFORE_STEP
    ]
    return min(found, key=lambda item: (item[0].step, item[0].node), default=None)


def zoom_specs(target: Target, audit_id: str, number: int) -> tuple[RunSpec, RunSpec]:
    """Returns the specs of the two zoom runs. `number`: how many runs the audit has so far."""
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
            interventions={**spec.interventions, **({"values": target.values} if target.values else {})},
        )
        for place, spec in enumerate((target.left, target.right))
    )
    return left, right


def look_closer(runs: Sequence[RunRecord], readers: Sequence[RunReader]) -> Zoom:
    """Returns what the two zoom runs show. Never raises for what they contain."""
    left, right = readers
    step = left.run.spec.step_from
    zoom = Zoom(step=step, level=LEVEL, runs=[run.spec.label for run in runs], words="")
    for run in runs:
        if run.state is not RunState.SEALED:
            why = f": {run.message}" if run.message else ""
            return zoom.model_copy(update={"words": f"{run.spec.label} did not finish ({run.state.value}{why})"})
    try:
        pair = compare_pair(left, right)
        if pair.incomparable:
            return zoom.model_copy(update={"words": pair.incomparable})
        computed = [d for d in pair.differences.values() if d.node.stage in NUMERIC and d.node.phase is Phase.TRAIN]
        if not computed:
            text = f"when rerun, both runs agree from step {step} on: the difference is intermittent"
            return zoom.model_copy(update={"words": text})
        first = min(d.step for d in computed)
        return _with_operation(zoom.model_copy(update={"step": first}), first_divergent_operation(pair, first), pair)
    except DamagedError as error:
        return zoom.model_copy(update={"words": f"stored data is damaged ({error}); run the audit again"})


def _with_operation(zoom: Zoom, found: Found | str, pair: PairComparison) -> Zoom:
    if isinstance(found, str):
        return zoom.model_copy(update={"words": found})
    update = _measured(found.measured)
    if isinstance(found, DivergentInput):
        update |= {"stage": found.stage.word, "site": found.site, "at": list(found.at), "inputs_equal": False}
        zoom = zoom.model_copy(update=update)
        size = f". The first input that differs: {describe_size(zoom)}" if zoom.elements is not None else ""
        return zoom.model_copy(update={"words": found.description + size})
    update |= {
        "op": found.op,
        "stage": found.stage.word,
        "site": found.site,
        "at": list(found.at),
        "relative": _finite(found.relative),
        "ulp": _finite(found.ulp),
        "inputs_equal": found.inputs_equal,
        "known_to_race": may_race(found.op, on_gpu=_has_gpu(pair)),
    }
    zoom = zoom.model_copy(update=update)
    return zoom.model_copy(update={"words": f"{found.description}. {describe_size(zoom)}"})


def _measured(found: Measured | None) -> dict[str, Any]:
    if found is None:
        return {"elements": None, "change": None}
    elements = {name: value for name, value in vars(found.elements).items() if name != "bits"}
    change = found.change and MeasuredChange(**vars(found.change))
    return {"elements": MeasuredElements(**elements, one_bit=found.elements.one_bit), "change": change}


def _has_gpu(pair: PairComparison) -> bool:
    return any(
        value_at(reader.manifest(), "torch", "cuda_available") or reader.manifest().get("gpu")
        for reader in (pair.left, pair.right)
    )


def _finite(value: float | None) -> float | None:
    """Returns the value, or None for Inf and NaN, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None
