"""Whether an audit can be believed: a run without instruments ends in the same weights, and planted faults are found where they were
planted. Pure, given a Lab.

Against one run of the first arm, with what makes its twins equal held equal too: where twins still differ no test is possible, and
it is said. `bare`: only the weights after the last step are compared, by their digests. `ulp`: one number moves to its neighbour
before a step; a difference must be seen in that step and nowhere before. `swap`: two samples of a batch change places; seen first in
the order or the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.trials import Lab, Result, Trial
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.domain.run import RunSpec

BARE = "bare: a run without instruments"
ULP = "ulp: a parameter moved by one ulp"
SWAP = "swap: two samples changed places"
PLANTED_AT = 1  # the first step before which the parameters are known


@dataclass(frozen=True)
class Check:
    """passed None: it could not be made."""

    name: str
    passed: bool | None
    words: str

    def row(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "words": self.words}


def self_test(case: Case, lab: Lab, held: Mapping[Factor, str]) -> list[Check]:
    """The checks. Raises trials.RunsNeededError where runs are missing."""
    if not case.arms:
        return [Check("arm", None, "no run is there to test")]
    arm = case.arms[0]
    native = case.representative(arm)
    if case.repeats(arm) is False and not held:
        return [
            Check("arm", None, f"{arm.arm.label} does not repeat itself, so nothing can be told from a planted fault")
        ]
    steps = finished_steps(native)
    if steps <= PLANTED_AT:
        return [Check("arm", None, f"{steps} steps are too few: a fault is planted before step {PLANTED_AT}")]
    # Level step and a budget leave weights out: what a bare run shows would miss its counterpart.
    whole = native.run.spec.level != "step" and not native.run.spec.budget_share
    base = replace(native.run.spec, step_to=steps)
    if not whole:
        base = replace(base, level="module", budget_share=0.0)
    trials = [_trial(base, held, "bare", str(steps - 1))]
    trials += [_trial(base, held, "fault", f"{kind}:{PLANTED_AT}") for kind in ("ulp", "swap")]
    if held or not whole:
        trials.append(Trial("self-test: nothing planted", (base,), held))
    found = lab.run(*trials)
    reference = found[-1].specs[0] if (held or not whole) and found[-1].specs else native.run.spec
    return [
        _bare(lab, found[0], lab.reader(reference), steps - 1),
        _planted(lab, found[1], reference, ULP, (Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)),
        _planted(lab, found[2], reference, SWAP, (Stage.ORDER, Stage.SAMPLE, Stage.BATCH)),
    ]


def _trial(base: RunSpec, held: Mapping[Factor, str], name: str, value: str) -> Trial:
    factor = Factor("probe", name, name, value, swaps=False)
    return Trial(f"self-test: {name}={value}", (base,), {**held, factor: value}, (factor,))


def _bare(lab: Lab, result: Result, reference: RunReader, step: int) -> Check:
    """No observer watched it, so it is no sound run of an audit; what counts is that its weights arrived."""
    if not result.specs:
        return Check("bare", None, f"{BARE}: {result.problem}")
    bare = lab.reader(result.specs[0])
    try:
        ours, theirs = _weights(bare, step), _weights(reference, step)
    except DamagedError as error:
        return Check("bare", None, f"{BARE}: stored data is damaged ({error})")
    if not ours:
        return Check("bare", None, f"{BARE} showed no weights: no optimizer's step {step} was seen")
    # Instruments also see buffers and optimizer state, which a bare run has no names for.
    missing = Counter(ours) - Counter(theirs)
    if missing:
        return Check("bare", False, f"{BARE} ends in other weights: {len(missing)} of {len(ours)} differ: probe-effect")
    return Check("bare", True, f"{BARE} ends in the same weights, {len(ours)} tensors after step {step}")


def _weights(reader: RunReader, step: int) -> list[tuple[int, str, tuple[int, ...] | None, bytes]]:
    """(rank, dtype, shape, digest) of all that an update of a step recorded."""
    found = []
    for key in reader.streams():
        if key == StreamKey(key.rank, Stage.UPDATE, Phase.TRAIN):
            found += [(key.rank, r.dtype, r.shape, r.digest) for r in reader.records(key, step)]
    return [row for row in found if row[2]]  # scalars are settings such as lr


def _planted(lab: Lab, result: Result, reference: RunSpec, name: str, stages: Sequence[Stage]) -> Check:
    short = name.partition(":")[0]
    if result.problem:
        return Check(short, None, f"{name}: {result.problem}")
    if result.inert:
        return Check(short, None, f"{name}: there was nothing to plant it in")
    pair = lab.pair(reference, result.specs[0])
    if pair.incomparable:
        return Check(short, None, f"{name}: {pair.incomparable}")
    first = pair.first
    if first is None:
        return Check(short, False, f"{name}, and no difference was seen")
    place = f"step {first.step} · {first.node.stage.word}"
    if first.step < PLANTED_AT - 1 or first.node.stage not in stages or (short == "ulp" and first.step != PLANTED_AT):
        return Check(short, False, f"{name}, and a difference was seen elsewhere: {place}")
    return Check(short, True, f"{name}, and it was seen: {place}")
