"""A round between two arms: what tells them apart is made equal, then released piece by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detctl_coordinator.attribution.attribute import suspects_between
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.known_answers import answers_compared
from detctl_coordinator.attribution.evidence.suspects import Suspect
from detctl_coordinator.attribution.experiments.factors import Factor, factors_of
from detctl_coordinator.attribution.experiments.releases import (
    all_equal,
    find_fix,
    inert,
    release,
    release_group,
    settings_words,
    until_compared,
)
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.experiments.together import find_together
from detctl_coordinator.attribution.experiments.transplant import transplant
from detctl_coordinator.attribution.experiments.trials import Lab, Trial
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.domain.fingerprint import Stage

NAMED_MAX = 6
FACTORS_MAX = 13  # tried by themselves; two runs each, two for E*, two for the fix: thirty experiments

NOTHING_TO_SET = "none was run: what the arms differ in cannot be set from here"
STILL_DIFFERENT = "with all that can be set made equal the arms still part, so no cause is confirmed"
DISTURBED = "setting its own values changed the first arm, so no cause is confirmed"


def between_arms(lab: Lab, case: Case, scope: Scope, pair: PairComparison, held: Mapping[Factor, str]) -> Round | None:
    """None: they differ in nothing that is known, and nothing may be transplanted."""
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
        round_.note = f"{NOTHING_TO_SET} ({_names(suspects)})"
        return round_
    if held:
        only = lab.run(Trial(f"nothing equal but {settings_words(held)}", bases, held))[0]
        round_.rows.append(lab.row(only))
        round_.equalised = lab.agree(only)
        if round_.equalised or not (factors or transplants):
            return round_  # chance was all that parted them, or nothing else can be tried
    equal = {**held, **{factor: factor.equal for factor in factors}}
    star = all_equal(lab, round_, bases, equal)
    if round_.equalised is None:
        return round_
    if not round_.equalised:
        set_ = {factor.key for factor in factors}
        left = [one for one in suspects if one.key not in set_]
        round_.note = STILL_DIFFERENT + (f" (not set here: {_names(left)})" if left else "")
        answers = answers_compared(facts[0].manifest, facts[1].manifest)
        round_.note += f"; {answers}" if answers else ""
        if transplants:
            transplant(lab, round_, star)
        return round_
    if not held and all(factor.swaps for factor in factors) and not lab.equal(natives[0], star.specs[0]):
        round_.note = DISTURBED
        return round_
    live = [factor for factor in factors if factor not in star.inert]
    round_.findings += [inert(factor) for factor in factors if factor in star.inert]
    release(lab, round_, star, [factor for factor in live if factor.likely])
    release_group(lab, round_, star, [factor for factor in live if not factor.likely])
    if all(one.effect is False for one in round_.findings):
        find_together(lab, round_, star, [factor for factor in live if factor.swaps])
    find_fix(lab, case, round_, bases, held)
    return round_


def _names(suspects: Sequence[Suspect]) -> str:
    return ", ".join([suspect.name for suspect in suspects[:NAMED_MAX]]) + (", …" if len(suspects) > NAMED_MAX else "")
