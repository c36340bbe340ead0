"""The trials of a round: the all-equal baseline, each factor released from it, and the fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from detctl_coordinator.attribution.attribute import causes_of
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Result, Trial
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.rounds import Finding, Fix, Round
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.domain.run import RunSpec

PAIR_MIN = 2
GROUP_MIN = 3  # at least this many unlikely factors are tried together first

NO_BASELINE = "The all-equal baseline has no result, so no cause is confirmed"


def all_equal(
    runner: ExperimentRunner, round_: Round, bases: tuple[RunSpec, ...], equal: Mapping[Factor, str]
) -> Result:
    """Returns the all-equal baseline. The round gets whether its runs agree, or a note why they have no result."""
    baseline = runner.run(Trial("All-equal baseline, with every setting equal that detctl can set", bases, equal))[0]
    round_.rows.append(runner.row(baseline))
    round_.equalised = runner.agree(baseline)
    if round_.equalised is None:
        round_.note = f"{NO_BASELINE} ({baseline.problem})."
    return baseline


def release(runner: ExperimentRunner, round_: Round, baseline: Result, factors: Sequence[Factor]) -> None:
    """Releases each factor alone, all in one batch of runs."""
    trials = []
    for factor in factors:
        change = f"{factor.format_value(factor.released)} on both" if factor.swaps else f"{factor.shown} is left unset"
        values = {**baseline.trial.settings, factor: factor.released}
        trials.append(Trial(f"All else equal, {change}", baseline.trial.bases, values, (factor,)))
    for factor, result in zip(factors, runner.run(*trials), strict=True):
        round_.rows.append(runner.row(result, baseline if factor.swaps else None))
        if factor.swaps:
            round_.findings.append(_swapped(runner, round_.scope, factor, result, baseline))
        else:
            round_.findings.append(_left_unset(runner, round_.scope, factor, result, baseline))


def release_group(runner: ExperimentRunner, round_: Round, baseline: Result, factors: Sequence[Factor]) -> None:
    """Releases unlikely factors together. If that changes nothing, all are excluded, else each is released alone."""
    if len(factors) >= GROUP_MIN:
        values = {**baseline.trial.settings, **{factor: factor.released for factor in factors}}
        description = f"All else equal, {len(factors)} other settings have the second configuration's values on both"
        result = runner.run(Trial(description, baseline.trial.bases, values, tuple(factors)))[0]
        round_.rows.append(runner.row(result, baseline))
        if runner.agree(result) and runner.unchanged(baseline, result):
            shown = ", ".join(factor.shown for factor in factors)
            text = f"{shown} are excluded: released together, they do not change the result of either configuration."
            round_.findings += [Finding(factor, False, text) for factor in factors]
            return
    release(runner, round_, baseline, factors)


def release_excluded(runner: ExperimentRunner, round_: Round, baseline: Result) -> None:
    """Releases together all factors that change nothing alone. If that has an effect, each hides the others, so none is excluded."""
    alike = [one for one in round_.findings if one.outcome == "excluded"]
    factors = [one.factor for one in alike]
    if len(factors) < PAIR_MIN:
        return
    values = {**baseline.trial.settings, **{factor: factor.released for factor in factors}}
    description = f"All else equal, {len(factors)} settings that change nothing alone are released together"
    result = runner.run(Trial(description, baseline.trial.bases, values, tuple(factors)))[0]
    if result.problem:
        return
    if all({row["released"]} != {", ".join(factor.shown for factor in factors)} for row in round_.rows):
        round_.rows.append(runner.row(result, baseline))
    same = runner.unchanged(baseline, result) if all(factor.swaps for factor in factors) else True
    if runner.agree(result) and same:
        return
    for one in alike:
        others = tuple(factor for factor in factors if factor is not one.factor)
        shown = ", ".join(factor.shown for factor in others)
        text = f"{one.factor.shown} is not separated from {shown}: none changes anything alone, and together they do."
        round_.findings[round_.findings.index(one)] = Finding(one.factor, None, text, overlaps=others)


def _left_unset(runner: ExperimentRunner, scope: Scope, factor: Factor, result: Result, baseline: Result) -> Finding:
    if result.problem:
        return Finding(factor, None, f"{factor.shown}: {result.problem}")
    if runner.agree(result):
        return Finding(factor, False, f"{factor.shown} is excluded: the runs agree without it.")
    equal = factor.format_value(factor.equal)
    text = f"With {equal} and all else equal, the runs agree. Without {equal}, they diverge."
    if factor.masks:
        text += f" It masks {factor.masks}; this shows the class and not the cause."
    acted_on = runner.read_back(factor, baseline)
    if acted_on:
        text += f" Report of {equal}: {acted_on}."
    calls = runner.replaced_calls(factor, baseline)
    return Finding(factor, True, text, causes_between(runner, scope, *runner.diverged_pair(result)), calls=calls)


def _swapped(runner: ExperimentRunner, scope: Scope, factor: Factor, result: Result, baseline: Result) -> Finding:
    if result.problem:
        return Finding(factor, None, f"{factor.shown}: {result.problem}")
    equal, released = factor.format_value(factor.equal), factor.format_value(factor.released)
    if not runner.agree(result):
        return Finding(factor, None, f"{factor.shown}: with {released} on both, the runs diverge, which shows nothing.")
    if runner.unchanged(baseline, result):
        text = f"{factor.shown} is excluded: {equal} and {released} give the same result in both configurations."
        if factor.family in ("isa", "threads", "precision"):
            text += " The setting was in effect but changed no recorded value: it is a no-op here."
        return Finding(factor, False, text)
    text = f"All else equal, both configurations agree with {equal} and with {released}, but the two results differ."
    return Finding(factor, True, text, causes_between(runner, scope, baseline.specs[0], result.specs[0]))


def no_op(factor: Factor) -> Finding:
    """Returns the finding on a factor that had nothing to act on in the all-equal baseline."""
    text = f"{factor.format_value(factor.equal)} was a no-op: it had nothing to act on."
    return Finding(factor, False, text, no_op=True)


def causes_between(runner: ExperimentRunner, scope: Scope, left: RunSpec, right: RunSpec) -> tuple[CauseFinding, ...]:
    """Returns the causes that signatures find between two runs of experiments."""
    pair = runner.pair(left, right)
    facts = [runner.case.facts(reader) for reader in (pair.left, pair.right)]
    return tuple(causes_of(runner.case.compared_as(pair, scope, facts)))


def find_fix(
    runner: ExperimentRunner,
    case: Case,
    round_: Round,
    bases: tuple[RunSpec, ...],
    held: Mapping[Factor, str],
    acting: Mapping[Factor, str] | None = None,
) -> None:
    """Runs a trial in which only the factors that act are equal, and measures its cost against the unchanged configurations.

    `acting`: these factors, if the round does not know them yet."""
    acting = round_.acting if acting is None else acting
    if not acting:
        return
    values = {**held, **acting}
    result = runner.run(Trial(f"Only {format_settings(values)} set", bases, values))[0]
    round_.rows.append(runner.row(result))
    if result.problem:
        return
    configurations = {spec.arm for spec in bases}
    natives = [
        reader for runs in case.configurations if runs.configuration in configurations for reader in runs.readers
    ]
    cost, scatter, steps = runner.cost(result.specs, natives)
    round_.fix = Fix(values, bool(runner.agree(result)), cost, scatter, steps)


def format_settings(values: Mapping[Factor, str]) -> str:
    """Returns `listing=sorted, env:TZ=UTC`."""
    return ", ".join(factor.format_value(value) for factor, value in values.items())


def until_compared(spec: RunSpec, case: Case) -> RunSpec:
    """Returns a spec that ends after the last step that was compared, so that experiments are short."""
    return replace(spec, step_to=case.limit if case.limit is not None else spec.step_to)
