"""Factors that part the runs only together."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_coordinator.attribution.experiments.delta_debugging import smallest
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.releases import causes_between
from detctl_coordinator.attribution.experiments.rounds import Finding, Round
from detctl_coordinator.attribution.experiments.trials import Lab, Result, Trial

TOGETHER = "no setting parts the arms by itself, though they agree with all of them equal: some act together"


def find_together(lab: Lab, round_: Round, star: Result, factors: Sequence[Factor]) -> None:
    """The smallest set of factors that parts the runs where none does by itself."""
    tried: dict[frozenset[Factor], Result] = {}

    def acts(some: Sequence[Factor]) -> bool | None:
        values = {**star.trial.settings, **{factor: factor.released for factor in some}}
        told = ", ".join(factor.value_words(factor.released) for factor in some)
        if (result := tried.get(frozenset(some))) is None:
            result = lab.run(Trial(f"all else equal, {told} on both", star.trial.bases, values, tuple(some)))[0]
            tried[frozenset(some)] = result
            if len(some) > 1:  # one by itself was tried before
                round_.rows.append(lab.row(result, star))
        return None if not lab.agree(result) else not lab.unmoved(star, result)

    found = smallest(factors, acts) if len(factors) > 1 else None
    if not found:
        round_.note = TOGETHER
        return
    causes = causes_between(lab, round_.scope, star.specs[0], tried[frozenset(found)].specs[0])
    shown = " and ".join(factor.value_words(factor.released) for factor in found)
    words = (
        f"all else equal, both arms agree without and with {shown}, and part from one to the other; neither acts alone"
    )
    others = [one for one in round_.findings if one.factor not in found]
    round_.findings[:] = [
        *others,
        *(Finding(f, True, words, causes, tuple(o for o in found if o is not f)) for f in found),
    ]
