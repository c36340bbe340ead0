"""Causes confirmed by experiment: runs that part are repeated with settings made equal. Pure, given a Lab.

Rounds peel causes off. First, where twins of one arm part, what they draw by chance is made equal (seeds, identity, hash seed); what that
removes is kept equal in the rounds after it, between arms. In each round:

Everything that can be set is made equal, to the first arm's values (E*). Where the runs then agree, each factor is released by itself.
Between two arms both get the second arm's value: if both then part from E* and agree with each other, the value alone decides on either
machine: confirmed by *swap*; if nothing changes, the factor is excluded. An order of listings, and what twins draw by chance, is released
by leaving it as it is: if the runs part, *equalised* confirms it, since all else was equal. If no factor acts by itself though all of them
do, the smallest set that acts together is sought by delta debugging. Where chance outlives E*, masks (one thread, no workers,
deterministic algorithms) show its class, and confirm nothing. Last, the runs with nothing but the confirmed factors equal: the
cheapest fix, and what it costs. Nothing counts that was not read back. Where E* only says aloud what the first arm has anyway, it is
the sham: it must change nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import RunArm
from detctl_coordinator.attribution.experiments.between_arms import between_arms
from detctl_coordinator.attribution.experiments.chance import by_chance
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.experiments.trials import Lab
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.pairing import Scope


def explore(case: Case, lab: Lab) -> list[Round]:
    """The rounds. Raises trials.RunsNeededError where runs are missing."""
    rounds: list[Round] = []
    held: dict[Factor, str] = {}
    if (arm := next((arm for arm in case.arms if case.repeats(arm) is False), None)) is not None:
        round_ = by_chance(lab, case, arm)
        rounds.append(round_)
        if not round_.equalised:
            return rounds  # between arms there would be no telling chance from cause
        held = held_in(rounds)
    for scope, pair in _pairs(case, chance_is_held=bool(held)):
        if (found := between_arms(lab, case, scope, pair, held)) is not None:
            rounds.append(found)
    return rounds


def held_in(rounds: Sequence[Round]) -> dict[Factor, str]:
    """What makes twins equal, as far as a round of twins showed it."""
    return {
        one.factor: one.factor.equal
        for round_ in rounds
        if round_.scope == "twins" and round_.equalised
        for one in round_.findings
        if one.effect
    }


def _pairs(case: Case, *, chance_is_held: bool) -> list[tuple[Scope, PairComparison]]:
    """Pairs of arms to explain: the first arm against one of each group that is at odds with it."""
    found: list[tuple[Scope, PairComparison]] = []
    first: RunArm | None = None
    seen: list[RunArm] = []
    for left, right, scope, pair in case.arm_pairs:
        if not pair.different or scope == "runs" or (first is not None and left is not first):
            continue
        if not chance_is_held and not (case.repeats(left) and case.repeats(right)):
            continue
        if not chance_is_held and any(not case.between(right, other).different for other in seen):
            continue  # its group is explained already
        first = left
        seen.append(right)
        found.append((scope, pair))
    return found
