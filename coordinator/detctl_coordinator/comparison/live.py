"""Compares runs while they are in progress, to find out when the result of every stage is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from detctl_coordinator.comparison.pair import PairComparison, compare_pair
from detctl_coordinator.comparison.pairing import scope_of
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node, affected_by, descendants
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.run import RunState

ENDED_TWINS_MIN = 2
# Stages of every step. Once a difference has reached all of them, further steps show nothing new.
RECURRING = (Stage.BATCH, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)


def stages_answered(readers: Sequence[RunReader]) -> int | None:
    """Returns the step by which the result of every recurring stage is known between configurations; None: continue.

    It is known if a pair of configurations differs up to the update, and each recurring stage below a root of that pair has differed by
    this step. Twins do not count, unless there is only one configuration: see `_twins_answered`. Raises DamagedError.
    """
    configurations: dict[str, RunReader] = {}
    for reader in sorted(readers, key=lambda r: -finished_steps(r)):
        configurations.setdefault(reader.run.spec.arm.label, reader)
    if len(configurations) == 1:
        return _twins_answered(readers)
    started = [reader for reader in configurations.values() if finished_steps(reader) > 0]
    pairs = [(a, b) for a, b in combinations(started, 2) if scope_of(a.run.spec.arm, b.run.spec.arm) is not None]
    answers = [answered(compare_pair(a, b)) for a, b in pairs]
    if not answers or len(started) < len(configurations) or any(answer is None for answer in answers):
        return None
    return max(answer for answer in answers if answer is not None)


def _twins_answered(readers: Sequence[RunReader]) -> int | None:
    """Returns the step by which the result of every pair of twins is known; None: continue.

    Two twins must have trained to their end. Whatever begins to differ late in the window is known from them, and what a third twin adds
    is known once it differs from both. So no pair is called equal from fewer steps than were requested."""
    ended = [reader for reader in readers if reader.run.state is RunState.SEALED]
    if len(ended) < ENDED_TWINS_MIN or any(finished_steps(reader) == 0 for reader in readers):
        return None
    answers = [answered(compare_pair(a, b)) for a, b in combinations(readers, 2)]
    if any(answer is None for answer in answers):
        return None
    return max(answer for answer in answers if answer is not None)


def answered(pair: PairComparison) -> int | None:
    """Returns the step by which the difference of two runs has reached every recurring stage below its roots; None: not yet."""
    update = Node(Stage.UPDATE)
    if update not in pair.differences or pair.continuation is not None:
        return None
    fed = {stage for root in pair.roots for stage in descendants(root.node.stage)}
    below = {Node(stage) for stage in RECURRING if stage in fed} & pair.observed
    reached = {root.node for root in pair.roots}
    for root in pair.roots:
        reached.update(affected_by(root.node, pair.extents, pair.observed))
    if not below <= reached:
        return None
    return max(pair.differences[node].step for node in below | {update})
