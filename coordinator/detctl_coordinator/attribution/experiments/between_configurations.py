"""A round between two configurations: all settings that differ are made equal, then released one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detctl_coordinator.attribution.attribute import suspects_between
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.settings.known_answers import answers_compared
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Trial
from detctl_coordinator.attribution.experiments.factors import Factor, factors_of
from detctl_coordinator.attribution.experiments.interactions import find_interaction
from detctl_coordinator.attribution.experiments.releases import (
    all_equal,
    find_fix,
    format_settings,
    no_op,
    release,
    release_excluded,
    release_group,
    until_compared,
)
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.experiments.transplant import transplant
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.domain.fingerprint import Stage

NAMED_MAX = 6
# Factors that are released one by one. Two runs each, two for the baseline and two for the fix are thirty experiments.
FACTORS_MAX = 13

NOTHING_TO_SET = "None was run, because detctl cannot set what differs between the configurations"
STILL_DIFFERENT = (
    "With every setting made equal that detctl can set, the configurations still diverge, so no cause is confirmed"
)
DISTURBED = "The control failed: setting the first configuration's existing values explicitly changed its result, so no cause is confirmed."


def between_configurations(
    runner: ExperimentRunner, case: Case, scope: Scope, pair: PairComparison, held: Mapping[Factor, str]
) -> Round | None:
    """Returns the results of experiments between two configurations. None: no known fact differs and nothing may be transplanted."""
    facts = case.facts(pair.left), case.facts(pair.right)
    natives = pair.left.run.spec, pair.right.run.spec
    bases = until_compared(natives[0], case), until_compared(natives[1], case)
    suspects = suspects_between(case.compared_as(pair, scope, facts))
    lists = any(node.stage is Stage.LISTING for node in pair.differences)
    identity = any(cause.cause == "identity-seed" for cause in case.causes) and not any(
        factor.name == "identity" for factor in held
    )
    factors = factors_of(suspects, *facts, lists=lists, identity=identity)
    alone = [factor for factor in factors if factor.likely][:FACTORS_MAX]
    factors = [*alone, *(factor for factor in factors if not factor.likely)]
    transplants = all(value_at(one.manifest, "recipe", "allow_transplant") for one in facts)
    round_ = Round(scope)
    if not factors and not held and not transplants:
        if not suspects:
            return None
        round_.note = f"{NOTHING_TO_SET} ({_names(suspects)})."
        return round_
    if held:
        only = runner.run(Trial(f"Only {format_settings(held)} set", bases, held))[0]
        round_.rows.append(runner.row(only))
        round_.equalised = runner.agree(only)
        if round_.equalised or not (factors or transplants):
            return round_  # randomness alone made them diverge, or nothing else can be tried
    equal = {**held, **{factor: factor.equal for factor in factors}}
    baseline = all_equal(runner, round_, bases, equal)
    if round_.equalised is None:
        return round_
    if not round_.equalised:
        settable = {factor.key for factor in factors}
        rest = [one for one in suspects if one.key not in settable]
        answers = answers_compared(facts[0].manifest, facts[1].manifest)
        round_.note = STILL_DIFFERENT + (f" (detctl cannot set {_names(rest)})." if rest else ".")
        round_.note += f" {answers}" if answers else ""
        if transplants:
            transplant(runner, round_, baseline)
        return round_
    if not held and all(factor.swaps for factor in factors) and not runner.equal(natives[0], baseline.specs[0]):
        round_.note = DISTURBED
        return round_
    active = [factor for factor in factors if factor not in baseline.no_ops]
    round_.findings += [no_op(factor) for factor in factors if factor in baseline.no_ops]
    release(runner, round_, baseline, [factor for factor in active if factor.likely])
    release_group(runner, round_, baseline, [factor for factor in active if not factor.likely])
    if all(one.effect is False for one in round_.findings):
        find_interaction(runner, round_, baseline, [factor for factor in active if factor.swaps])
    else:
        release_excluded(runner, round_, baseline)
    find_fix(runner, case, round_, bases, held)
    return round_


def _names(suspects: Sequence[Suspect]) -> str:
    return ", ".join([suspect.name for suspect in suspects[:NAMED_MAX]]) + (", …" if len(suspects) > NAMED_MAX else "")
