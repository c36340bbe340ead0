"""Finds factors that make the runs diverge only together."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.experiments.delta_debugging import smallest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Result, Trial
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.releases import causes_between
from detctl_coordinator.attribution.experiments.rounds import Finding, Round

ONLY_TOGETHER = "The configurations agree with all settings equal, but no single setting makes them diverge: some act only together."


def find_interaction(runner: ExperimentRunner, round_: Round, baseline: Result, factors: Sequence[Factor]) -> None:
    """Adds the smallest set of factors that makes the runs diverge if none does alone, or a note."""
    tried: dict[frozenset[Factor], Result] = {}

    def acts(some: Sequence[Factor]) -> bool | None:
        values = {**baseline.trial.settings, **{factor: factor.released for factor in some}}
        shown = ", ".join(factor.format_value(factor.released) for factor in some)
        if (result := tried.get(frozenset(some))) is None:
            result = runner.run(Trial(f"All else equal, {shown} on both", baseline.trial.bases, values, tuple(some)))[0]
            tried[frozenset(some)] = result
            if len(some) > 1:  # single factors were tried before
                round_.rows.append(runner.row(result, baseline))
        return None if not runner.agree(result) else not runner.unchanged(baseline, result)

    found = smallest(factors, acts) if len(factors) > 1 else None
    if not found:
        round_.note = ONLY_TOGETHER
        return
    causes = causes_between(runner, round_.scope, baseline.specs[0], tried[frozenset(found)].specs[0])
    shown = " and ".join(factor.format_value(factor.released) for factor in found)
    text = (
        f"All else equal, both configurations agree without and with {shown}, but the two results differ. "
        "None of these settings acts alone."
    )
    others = [one for one in round_.findings if one.factor not in found]
    round_.findings[:] = [
        *others,
        *(Finding(f, True, text, causes, tuple(o for o in found if o is not f)) for f in found),
    ]
