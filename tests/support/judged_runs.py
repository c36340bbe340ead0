"""Verdicts of runs that are built in memory: clean twins on two machines, with a change on one side, or on each twin."""

from __future__ import annotations

from collections.abc import Callable

from detctl_coordinator.attribution.case import JudgeRequest
from detctl_coordinator.attribution.verdict.judge import judge
from detctl_coordinator.domain.verdict import Verdict

from tests.support.memory_runs import MemoryRun, RunBuilder

Make = Callable[[RunBuilder], RunBuilder]
MODEL = ("forward", "loss", "backward", "update")
EVERYTHING = ("init", "order", "sample", "batch", *MODEL)


def judged(*runs: MemoryRun, **more: object) -> Verdict:
    """more: further fields of JudgeRequest."""
    return judge(JudgeRequest("a1", "digits", runs, **more))  # type: ignore[arg-type]  # mypy does not know the types of **


def across(change: Make, both: Make = lambda b: b, **arm: object) -> Verdict:
    """Two clean twins on gpu1, two on gpu2 (or in another arm) with a change."""
    runs = [both(RunBuilder("gpu1", twin).train()).build() for twin in (0, 1)]
    where = {"machine": "gpu2", **arm}
    runs += [change(both(RunBuilder(twin=twin, **where).train())).build() for twin in (0, 1)]  # type: ignore[arg-type]  # mypy does not know the types of **
    return judged(*runs)


def within(change: Callable[[RunBuilder, int], RunBuilder]) -> Verdict:
    """Three twins on one machine, each changed by its number."""
    return judged(*(change(RunBuilder("gpu1", twin).train(), twin).build() for twin in range(3)))


def first(verdict: Verdict) -> tuple[str, str | None, str, int]:
    cause = verdict.causes[0]
    return cause.cause, cause.origin, cause.stage, cause.step
