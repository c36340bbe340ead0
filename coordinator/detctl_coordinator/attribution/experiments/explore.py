"""Confirms causes by experiment: diverging runs are repeated with settings made equal. Pure: the experiment runner is passed in.

If twins diverge, the first round tries what removes randomness (between_twins.py): each setting alone, the one for the named cause
first. What acts stays equal in the later rounds, which are between two configurations. Each of those has these steps:

1. All-equal baseline: every factor that can be set gets the first configuration's value. If these are the values that the first
   configuration has anyway, the baseline is also a control: it must not change that configuration's result.
2. If the runs then agree, each factor is released alone. Between two configurations, both get the second one's value. If both
   results change and still agree, the value alone makes the difference: the factor is confirmed by *swap*. If nothing changes, it
   is excluded, unless all those that change nothing alone have an effect together. A listing order is released by leaving it unset.
   If the runs then diverge, the factor is confirmed as *equalised*, since all else was equal.
3. If no factor acts alone but all together do, delta debugging finds the smallest set that acts.
4. The last trial sets only the confirmed factors: the cheapest fix and its cost.

A trial counts only if the runs report that the settings were in effect.
"""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import ConfigurationRuns
from detctl_coordinator.attribution.experiments.between_configurations import between_configurations
from detctl_coordinator.attribution.experiments.between_twins import between_twins
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.pairing import Scope


def explore(case: Case, runner: ExperimentRunner) -> list[Round]:
    """Returns the rounds. Raises RunsNeededError if runs are missing."""
    rounds: list[Round] = []
    held: dict[Factor, str] = {}
    if (runs := next((runs for runs in case.configurations if case.reproducible(runs) is False), None)) is not None:
        round_ = between_twins(runner, case, runs)
        rounds.append(round_)
        if not round_.equalised:
            return rounds  # between configurations, randomness could not be distinguished from a cause
        held = held_in(rounds)
    for scope, pair in _pairs(case, chance_is_held=bool(held)):
        if (found := between_configurations(runner, case, scope, pair, held)) is not None:
            rounds.append(found)
    return rounds


def held_in(rounds: Sequence[Round]) -> dict[Factor, str]:
    """Returns the values that a round between twins showed to make them equal."""
    return {
        one.factor: one.factor.equal
        for round_ in rounds
        if round_.scope == "twins" and round_.equalised
        for one in round_.findings
        if one.effect
    }


def _pairs(case: Case, *, chance_is_held: bool) -> list[tuple[Scope, PairComparison]]:
    """Returns the pairs to explain: the first configuration, and one of each group that differs from it."""
    found: list[tuple[Scope, PairComparison]] = []
    first: ConfigurationRuns | None = None
    seen: list[ConfigurationRuns] = []
    for left, right, scope, pair in case.configuration_pairs:
        if not pair.different or scope == "runs" or (first is not None and left is not first):
            continue
        if not chance_is_held and not (case.reproducible(left) and case.reproducible(right)):
            continue
        if not chance_is_held and any(not case.between(right, other).different for other in seen):
            continue  # another pair explains its group
        first = left
        seen.append(right)
        found.append((scope, pair))
    return found
