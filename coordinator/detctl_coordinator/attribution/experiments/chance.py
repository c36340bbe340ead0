"""A round of twins: what they draw by chance is made equal, and what outlives that is shown by masks."""

from __future__ import annotations

from collections.abc import Mapping

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import RunArm
from detctl_coordinator.attribution.evidence.suspects import suspects_of
from detctl_coordinator.attribution.experiments.factors import Factor, chances, masks
from detctl_coordinator.attribution.experiments.releases import all_equal, find_fix, inert, release, until_compared
from detctl_coordinator.attribution.experiments.rounds import Round, by_experiment
from detctl_coordinator.attribution.experiments.trials import Lab, Trial
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage

TWINS = 3  # runs of a trial where chance is at work: two agree by chance too often
PROOF_TWINS = 6  # of the last one, on which a confirmation rests: six agree by a 50:50 chance in 3 % of cases

STILL_BY_CHANCE = "with seeds, identity and hash seed made equal the twins still part, so no cause is confirmed"


def by_chance(lab: Lab, case: Case, arm: RunArm) -> Round:
    """Of an arm whose twins part. The factors of chance that it finds acting are held in the rounds between arms."""
    spec = case.representative(arm).run.spec
    bases = (until_compared(spec, case),) * TWINS
    round_ = Round("twins")
    factors = chances(spec)
    equal = {factor: factor.equal for factor in factors}
    star = all_equal(lab, round_, bases, equal)
    if round_.equalised is None:
        return round_
    live = [factor for factor in factors if factor not in star.inert]
    round_.findings += [inert(factor) for factor in factors if factor in star.inert]
    if not round_.equalised:
        return _masked(lab, case, round_, arm, equal)
    # What no signature has named could not be confirmed: it is released only where the others do not suffice.
    named = {cause.cause for cause in case.causes}
    likely = [factor for factor in live if named & {*factor.words}]
    release(lab, round_, star, likely)
    find_fix(lab, case, round_, bases[:1] * PROOF_TWINS, {})
    if round_.fix is None or not round_.fix.suffices:
        acting = round_.acting
        release(lab, round_, star, [factor for factor in live if factor not in likely])
        if round_.acting != acting:
            find_fix(lab, case, round_, bases[:1] * PROOF_TWINS, {})
    return round_


def _masked(lab: Lab, case: Case, round_: Round, arm: RunArm, equal: Mapping[Factor, str]) -> Round:
    """Which class of chance outlived E*: each mask is taken off while the others are on. Where it outlives them too, a peer is asked."""
    round_.note = STILL_BY_CHANCE
    spec = case.representative(arm).run.spec
    hiding = masks(spec)
    everything = {**equal, **{factor: factor.equal for factor in hiding}}
    words = "workers, threads and racing kernels held too"
    star = lab.run(Trial(words, (until_compared(spec, case),) * TWINS, everything))[0]
    round_.rows.append(lab.row(star))
    if lab.agree(star):
        release(lab, round_, star, [factor for factor in hiding if factor not in star.inert])
        if any(one.factor.name == "deterministic" and one.effect for one in round_.findings):
            round_.unfilled = _unfilled(case.representative(arm), lab.reader(star.specs[0]))
    elif lab.agree(star) is False and (peer := _peer(case, arm)) is not None:
        other = until_compared(case.representative(peer).run.spec, case)
        on_peer = lab.run(Trial(f"{words}, on {other.arm.machine}", (other,) * TWINS, everything))[0]
        round_.rows.append(lab.row(on_peer))
        if lab.agree(on_peer):
            round_.fault = by_experiment(
                f"with seeds, identity, threads, workers and deterministic algorithms held equal {spec.arm.machine} still "
                f"disagrees with itself in {TWINS} fresh runs, {other.arm.machine} repeats itself in {TWINS}, and no fact of their "
                "environments differs"
            )
    return round_


def _unfilled(native: RunReader, filled: RunReader) -> str:
    """A loss that is NaN under deterministic algorithms alone: they fill new memory with NaN, and somebody reads it as it is."""
    step, before = _first_nan(filled), _first_nan(native)
    if step is None or (before is not None and before <= step):
        return ""
    return by_experiment(
        f"with deterministic=on, which fills new memory with NaN, the loss is NaN from step {step} on; "
        "without it, it is a number there"
    )


def _first_nan(reader: RunReader) -> int | None:
    keys = [key for key in reader.streams() if key.stage is Stage.LOSS and key.phase is Phase.TRAIN]
    for step in range(finished_steps(reader)):
        sketches = [record.sketch for key in keys for record in reader.records(key, step)]
        if any(sketch is not None and sketch[0] > 0 for sketch in sketches):  # its first number counts them
            return step
    return None


def _peer(case: Case, arm: RunArm) -> RunArm | None:
    """An arm of another machine that is the same in all that is known, and repeats itself."""
    mine = case.representative(arm)
    for other in case.arms:
        theirs = case.representative(other)
        if other.arm.machine == arm.arm.machine or not case.repeats(other):
            continue
        specs = mine.run.spec, theirs.run.spec
        if not suspects_of(case.facts(mine).manifest, case.facts(theirs).manifest, *specs):
            return other
    return None
