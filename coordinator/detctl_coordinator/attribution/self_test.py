"""Tests the audit itself: an uninstrumented run must end with the same weights, and planted faults must be found where they were
planted. Pure: the experiment runner is passed in.

All checks compare with one run of the first configuration, with everything fixed that makes its twins equal. If its twins still
differ, no check is possible. `bare`: compares the weights after the last step, by their digests. `ulp`: changes one parameter to the
next floating-point number before a step; the difference must appear in that step and not earlier. `swap`: exchanges two samples of a
batch; the difference must appear first in the order or in the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Result, Trial
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.domain.run import RunSpec

UNINSTRUMENTED = "bare: an uninstrumented run"
ULP = "ulp: one parameter was changed by one ulp"
SWAP = "swap: two samples were exchanged"
PLANTED_AT = 1  # the first step before which the parameters are known


@dataclass(frozen=True)
class Check:
    """`passed` None: the check could not be made."""

    name: str
    passed: bool | None
    description: str

    def row(self) -> dict[str, Any]:
        """Returns the check as the verdict stores it."""
        return {"name": self.name, "passed": self.passed, "words": self.description}


def self_test(case: Case, runner: ExperimentRunner, held: Mapping[Factor, str]) -> list[Check]:
    """Returns the checks. Raises RunsNeededError if runs are missing."""
    if not case.configurations:
        return [Check("arm", None, "No run exists that could be tested.")]
    runs = case.configurations[0]
    native = case.representative(runs)
    if case.reproducible(runs) is False and not held:
        return [
            Check("arm", None, f"{runs.label} does not reproduce its own result, so a planted fault shows nothing.")
        ]
    steps = finished_steps(native)
    if steps <= PLANTED_AT:
        return [Check("arm", None, f"{steps} steps are too few: a fault is planted before step {PLANTED_AT}.")]
    # Level `step` and a budget leave weights out, so the weights of the uninstrumented run would have no counterpart.
    whole = native.run.spec.level != "step" and not native.run.spec.budget_share
    base = replace(native.run.spec, step_to=steps)
    if not whole:
        base = replace(base, level="module", budget_share=0.0)
    trials = [_trial(base, held, "bare", str(steps - 1))]
    trials += [_trial(base, held, "fault", f"{kind}:{PLANTED_AT}") for kind in ("ulp", "swap")]
    if held or not whole:
        trials.append(Trial("self-test: nothing planted", (base,), held))
    found = runner.run(*trials)
    reference = found[-1].specs[0] if (held or not whole) and found[-1].specs else native.run.spec
    return [
        _uninstrumented(runner, found[0], runner.reader(reference), steps - 1),
        _planted(runner, found[1], reference, ULP, (Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)),
        _planted(runner, found[2], reference, SWAP, (Stage.ORDER, Stage.SAMPLE, Stage.BATCH)),
    ]


def _trial(base: RunSpec, held: Mapping[Factor, str], name: str, value: str) -> Trial:
    factor = Factor("probe", name, name, value, swaps=False)
    return Trial(f"self-test: {name}={value}", (base,), {**held, factor: value}, (factor,))


def _uninstrumented(runner: ExperimentRunner, result: Result, reference: RunReader, step: int) -> Check:
    """Compares final weights. The run is incomplete by design, since nothing observed it; only its weights must have arrived."""
    if not result.specs:
        return Check("bare", None, f"{UNINSTRUMENTED}: {result.problem}")
    run = runner.reader(result.specs[0])
    try:
        ours, theirs = _weights(run, step), _weights(reference, step)
    except DamagedError as error:
        return Check("bare", None, f"{UNINSTRUMENTED}: stored data is damaged ({error})")
    if not ours:
        return Check("bare", None, f"{UNINSTRUMENTED} sent no weights: it had no optimizer step {step}")
    # The probe also records buffers and optimizer state, which have no names in an uninstrumented run.
    missing = Counter(ours) - Counter(theirs)
    if missing:
        text = f"ends with different weights: {len(missing)} of {len(ours)} tensors differ (probe-effect)"
        return Check("bare", False, f"{UNINSTRUMENTED} {text}")
    return Check("bare", True, f"{UNINSTRUMENTED} ends with the same weights ({len(ours)} tensors after step {step})")


def _weights(reader: RunReader, step: int) -> list[tuple[int, str, tuple[int, ...] | None, bytes]]:
    """Returns (rank, dtype, shape, digest) of each tensor that the update of a step recorded."""
    found = []
    for key in reader.streams():
        if key == StreamKey(key.rank, Stage.UPDATE, Phase.TRAIN):
            found += [(key.rank, r.dtype, r.shape, r.digest) for r in reader.records(key, step)]
    return [row for row in found if row[2]]  # scalars are settings such as lr


def _planted(runner: ExperimentRunner, result: Result, reference: RunSpec, name: str, stages: Sequence[Stage]) -> Check:
    short = name.partition(":")[0]
    if result.problem:
        return Check(short, None, f"{name}: {result.problem}")
    if result.no_ops:
        return Check(short, None, f"{name}: the fault had nothing to act on")
    pair = runner.pair(reference, result.specs[0])
    if pair.incomparable:
        return Check(short, None, f"{name}: {pair.incomparable}")
    first = pair.first
    if first is None:
        return Check(short, False, f"{name}, but no difference was found")
    place = f"step {first.step} · {first.node.stage.word}"
    if first.step < PLANTED_AT - 1 or first.node.stage not in stages or (short == "ulp" and first.step != PLANTED_AT):
        return Check(short, False, f"{name}, but a difference was found elsewhere: {place}")
    return Check(short, True, f"{name} and found: {place}")
