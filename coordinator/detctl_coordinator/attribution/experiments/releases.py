"""The trials of a round: all that can be set equal (E*), then each factor released from it; last, the fix by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detctl_coordinator.attribution.attribute import causes_of
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.evidence import CauseFinding
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.rounds import Finding, Fix, Round
from detctl_coordinator.attribution.experiments.trials import Lab, Result, Trial
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.domain.run import RunSpec

GROUP_MIN = 3  # so many unlikely factors are tried together first

NOT_SHOWN = "the runs with everything equal show nothing, so no cause is confirmed"


def all_equal(lab: Lab, round_: Round, bases: tuple[RunSpec, ...], equal: Mapping[Factor, str]) -> Result:
    """The runs of E*; the round notes whether they agree, or why they show nothing."""
    star = lab.run(Trial("all that can be set is equal", bases, equal))[0]
    round_.rows.append(lab.row(star))
    round_.equalised = lab.agree(star)
    if round_.equalised is None:
        round_.note = f"{NOT_SHOWN} ({star.problem})"
    return star


def release(lab: Lab, round_: Round, star: Result, factors: Sequence[Factor]) -> None:
    """Each factor by itself, all in one batch."""
    trials = []
    for factor in factors:
        words = f"{factor.value_words(factor.released)} on both" if factor.swaps else f"{factor.shown} left as it is"
        values = {**star.trial.settings, factor: factor.released}
        trials.append(Trial(f"all else equal, {words}", star.trial.bases, values, (factor,)))
    for factor, result in zip(factors, lab.run(*trials), strict=True):
        round_.rows.append(lab.row(result, star if factor.swaps else None))
        if factor.swaps:
            round_.findings.append(_swapped(lab, round_.scope, factor, result, star))
        else:
            round_.findings.append(_left_alone(lab, round_.scope, factor, result, star))


def release_group(lab: Lab, round_: Round, star: Result, factors: Sequence[Factor]) -> None:
    """Unlikely factors, all at once: where that changes nothing they are excluded together, else each is tried by itself."""
    if len(factors) >= GROUP_MIN:
        values = {**star.trial.settings, **{factor: factor.released for factor in factors}}
        words = f"all else equal, {len(factors)} other settings at the second arm's values on both"
        result = lab.run(Trial(words, star.trial.bases, values, tuple(factors)))[0]
        round_.rows.append(lab.row(result, star))
        if lab.agree(result) and lab.unmoved(star, result):
            shown = ", ".join(factor.shown for factor in factors)
            words = f"{shown} are excluded: released all at once they give the same on both arms"
            round_.findings += [Finding(factor, False, words) for factor in factors]
            return
    release(lab, round_, star, factors)


def _left_alone(lab: Lab, scope: Scope, factor: Factor, result: Result, star: Result) -> Finding:
    if result.problem:
        return Finding(factor, None, f"{factor.shown}: {result.problem}")
    if lab.agree(result):
        return Finding(factor, False, f"{factor.shown} is excluded: left as it is, the runs agree")
    equal = factor.value_words(factor.equal)
    words = f"with {equal} and all else equal the runs agree; with {factor.shown} left as it is they part"
    if factor.masks:
        words += f"; it masks {factor.masks}, and shows no more than that class"
    acted_on = lab.read_back(factor, star)
    if acted_on:
        words += f" ({equal} acted: {acted_on})"
    calls = lab.replaced_calls(factor, star)
    return Finding(factor, True, words, causes_between(lab, scope, *lab.parted(result)), calls=calls)


def _swapped(lab: Lab, scope: Scope, factor: Factor, result: Result, star: Result) -> Finding:
    if result.problem:
        return Finding(factor, None, f"{factor.shown}: {result.problem}")
    equal, released = factor.value_words(factor.equal), factor.value_words(factor.released)
    if not lab.agree(result):
        return Finding(factor, None, f"{factor.shown}: with {released} on both they part: shows nothing")
    if lab.unmoved(star, result):
        words = f"{factor.shown} is excluded: {equal} and {released} give the same on both arms"
        if factor.family in ("isa", "threads", "precision"):
            words += "; set as asked, it changed nothing that was seen: a no-op here"
        return Finding(factor, False, words)
    words = f"all else equal, both arms agree with {equal}, agree with {released}, and part from one to the other"
    return Finding(factor, True, words, causes_between(lab, scope, star.specs[0], result.specs[0]))


def inert(factor: Factor) -> Finding:
    """Of a factor that was set under E* and found nothing to act on."""
    return Finding(factor, False, f"{factor.value_words(factor.equal)} was a no-op: there was nothing for it to act on")


def causes_between(lab: Lab, scope: Scope, left: RunSpec, right: RunSpec) -> tuple[CauseFinding, ...]:
    """What the signatures say of two runs of the lab."""
    pair = lab.pair(left, right)
    facts = [lab.case.facts(reader) for reader in (pair.left, pair.right)]
    return tuple(causes_of(lab.case.compared_as(pair, scope, facts)))


def find_fix(lab: Lab, case: Case, round_: Round, bases: tuple[RunSpec, ...], held: Mapping[Factor, str]) -> None:
    """The runs with nothing equal but what acts, and what that costs against the arms as they are."""
    acting = round_.acting
    if not acting:
        return
    values = {**held, **acting}
    result = lab.run(Trial(f"nothing equal but {settings_words(values)}", bases, values))[0]
    round_.rows.append(lab.row(result))
    if result.problem:
        return
    natives = [reader for arm in case.arms for reader in arm.readers if arm.arm in {spec.arm for spec in bases}]
    cost, scatter, steps = lab.cost(result.specs, natives)
    round_.fix = Fix(values, bool(lab.agree(result)), cost, scatter, steps)


def settings_words(values: Mapping[Factor, str]) -> str:
    """`listing=sorted, env:TZ=UTC`"""
    return ", ".join(factor.value_words(value) for factor, value in values.items())


def until_compared(spec: RunSpec, case: Case) -> RunSpec:
    """Runs are short: up to the last step that was compared."""
    return replace(spec, step_to=case.limit if case.limit is not None else spec.step_to)
