"""The continuation in a verdict: which run continues which, from which step on, and what it restored."""

from __future__ import annotations

from detctl_coordinator.attribution.attribute import suspects_between
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.continuations.calls import continued, loaded_files
from detctl_coordinator.attribution.continuations.restoration import restoration_of
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.verdict import Continuation


def continuation_of(case: Case) -> Continuation | None:
    """Returns the first continuation among the compared pairs; None: no run continues another."""
    pair = next((pair for pair in case.compared if pair.continuation is not None), None)
    if pair is None:
        return None
    try:
        return _described(case, pair)
    except DamagedError:
        return None  # the verdict reports the damage


def _described(case: Case, pair: PairComparison) -> Continuation:
    found = pair.continuation
    assert found is not None
    left, right = case.facts(pair.left), case.facts(pair.right)
    run, of = (right, left) if found.continuing == "right" else (left, right)
    restoration = restoration_of(pair, left, right)
    names = None if len(case.comparable) < 3 else (run.label, of.label)
    options = suspects_between(case.compared_as(pair, "runs", (left, right)))
    return Continuation(
        run=run.label,
        of=of.label,
        step=found.step,
        restored=list(restoration.restored),
        not_restored=list(restoration.lost),
        evidence=list(restoration.lost.values()),
        loaded_at=list(dict.fromkeys(load.where for load in loaded_files(run) if load.where)),
        options=[one.listed for one in options if one.key.startswith(("recipe.parameters.", "recipe.command"))],
        words=continued(pair, restoration, names),
    )
