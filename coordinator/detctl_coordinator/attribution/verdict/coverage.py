"""The coverage of a verdict: which stages and steps were compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from detctl_proto.verdict_words import StageWord

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.steps.coverage import unobserved_parts
from detctl_coordinator.comparison.steps.window import common_steps, training_steps
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.verdict import Coverage


def coverage_of(case: Case) -> Coverage:
    """Returns the stages that every compared run recorded. The others are `not_observed`."""
    seen = [{key.stage for key, count in r.streams().items() if count} for r in case.comparable]
    common = set.intersection(*seen) if seen else set()
    if case.compared and all(pair.continuation is not None for pair in case.compared):
        # Of what a process does once, at its start, only the weights are compared.
        common &= {Stage.INIT, *(node.stage for pair in case.compared for node in pair.observed)}
    readers = case.comparable
    return Coverage(
        stages=[stage_word(stage) for stage in sorted(common)],
        not_observed=[stage_word(stage) for stage in Stage if stage not in common],
        unobserved=list(dict.fromkeys(line for r in readers for line in unobserved_parts(r))),
        steps=_steps(case),
        comparable_up_to=_comparable_up_to(case),
        level=_joined(r.level for r in readers),
        scheme=_joined(r.scheme for r in readers),
    )


def _comparable_up_to(case: Case) -> StageWord | None:
    """Returns the last compared stage of runs with different numbers of ranks; None: their numbers are equal."""
    united = [pair for pair in case.compared if pair.united is not None]
    if not united:
        return None
    return "update" if all(Node(Stage.UPDATE) in pair.observed for pair in united) else "batch"


def _steps(case: Case) -> list[int | None]:
    """Returns [first, last + 1] of the compared training steps, or the window if no run has any."""
    extents = [extent for reader in case.comparable if (extent := training_steps(reader)) is not None]
    if not extents:
        return list(case.request.window)
    limits = [pair.limit for pair in case.compared if not pair.incomparable]
    continued = [pair.continuation for pair in case.compared if pair.continuation is not None]
    if continued and len(continued) == len(case.compared):
        start = min(one.step for one in continued)
        return [start, common_steps([*limits, max([start, *(stop for _, stop in extents)])])]
    end = common_steps([*limits, case.limit, max(stop for _, stop in extents)])
    return [min(start for start, _ in extents), end]


def _joined(values: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(value for value in values if value))


def stage_word(stage: Stage) -> StageWord:
    """Returns the name of a stage as the verdict's type."""
    return cast("StageWord", stage.word)
