"""N runs in groups of equal ones, overall and by stage.

Equality is that of step sums over one window, so it is transitive among runs that know the whole window. A run that broke off
earlier joins the first group that it equals as far as it got; it never joins two groups into one.
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
    """(groups overall: equal in all that decides the outcome; groups of each observed stage). `compare` should remember."""
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
    """Groups in the order of the runs; the run that got furthest speaks for its group."""
    place = {id(reader): position for position, reader in enumerate(readers)}
    groups: Groups = []
    for reader in sorted(readers, key=lambda r: (-finished_steps(r), place[id(r)])):
        home = next((group for group in groups if equal(group[0], reader)), None)
        if home is None:
            groups.append([reader])
        else:
            home.append(reader)
    for group in groups:
        group.sort(key=lambda r: place[id(r)])
    return sorted(groups, key=lambda group: place[id(group[0])])


__all__ = ["DECIDING", "Groups", "group_runs"]
