"""Sorts runs into groups of equal ones, overall and by stage.

Runs are equal if their step sums are, over one window, so equality is transitive among runs that have the whole window. A run that
ended early joins the first group that it equals up to its end. It never merges two groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import DECIDING
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Stage

Compare = Callable[[RunReader, RunReader], PairComparison]
Groups = list[list[RunReader]]


def group_runs(readers: Sequence[RunReader], compare: Compare) -> tuple[Groups, dict[Stage, Groups]]:
    """Returns (groups of runs that are equal in all stages that decide the outcome, groups of each observed stage).

    `compare` is called several times for the same pair, so it should cache."""
    stages = sorted({key.stage for reader in readers for key in reader.streams()})
    overall = _partition(readers, lambda a, b: compare(a, b).equal)
    by_stage = {stage: _partition(_having(readers, stage), _stage_equal(compare, stage)) for stage in stages}
    return overall, by_stage


def _having(readers: Sequence[RunReader], stage: Stage) -> list[RunReader]:
    return [reader for reader in readers if any(key.stage is stage for key in reader.streams())]


def _stage_equal(compare: Compare, stage: Stage) -> Callable[[RunReader, RunReader], bool]:
    def equal(a: RunReader, b: RunReader) -> bool:
        pair = compare(a, b)
        return not pair.incomparable and all(node.stage is not stage for node in pair.differences)

    return equal


def _partition(readers: Sequence[RunReader], equal: Callable[[RunReader, RunReader], bool]) -> Groups:
    """Returns groups in the order of the runs. The run with the most steps represents its group."""
    place = {id(reader): position for position, reader in enumerate(readers)}
    groups: Groups = []
    for reader in sorted(readers, key=lambda r: (-finished_steps(r), place[id(r)])):
        equal_group = next((group for group in groups if equal(group[0], reader)), None)
        if equal_group is None:
            groups.append([reader])
        else:
            equal_group.append(reader)
    for group in groups:
        group.sort(key=lambda r: place[id(r)])
    return sorted(groups, key=lambda group: place[id(group[0])])


__all__ = ["DECIDING", "Groups", "group_runs"]
