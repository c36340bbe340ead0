"""Comparing while runs are under way: when is every stage's answer known?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from detctl_coordinator.comparison.pair import PairComparison, compare_pair
from detctl_coordinator.comparison.pairing import scope_of
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.roots import Node, carried_on, descendants
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Stage

# Stages that come in every step and that a difference must have reached before nothing new is to be expected of it.
RECURRING = (Stage.BATCH, Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)


def stages_answered(readers: Sequence[RunReader]) -> int | None:
    """The step at which every recurring stage's answer is known between arms, else None: go on.

    Answered means: some pair of arms differs down to the update, and each recurring stage that lies below a root of that
    pair has differed by this step. Twins of one arm never answer it: a code with one arm runs through its window.
    Raises DamagedError.
    """
    arms: dict[str, RunReader] = {}
    for reader in sorted(readers, key=lambda r: -finished_steps(r)):
        arms.setdefault(reader.run.spec.arm.label, reader)
    started = [reader for reader in arms.values() if finished_steps(reader) > 0]
    pairs = [(a, b) for a, b in combinations(started, 2) if scope_of(a.run.spec.arm, b.run.spec.arm) is not None]
    answers = [answered(compare_pair(a, b)) for a, b in pairs]
    if not answers or len(started) < len(arms) or any(answer is None for answer in answers):
        return None
    return max(answer for answer in answers if answer is not None)


def answered(pair: PairComparison) -> int | None:
    """The step by which the difference of two runs has reached every recurring stage below its roots, else None."""
    update = Node(Stage.UPDATE)
    if update not in pair.differences:
        return None
    fed = {stage for root in pair.roots for stage in descendants(root.node.stage)}
    below = {Node(stage) for stage in RECURRING if stage in fed} & pair.observed
    reached = {root.node for root in pair.roots}
    for root in pair.roots:
        reached.update(carried_on(root.node, pair.extents, pair.observed))
    if not below <= reached:
        return None
    return max(pair.differences[node].step for node in below | {update})
