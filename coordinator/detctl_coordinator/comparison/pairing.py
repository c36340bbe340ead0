"""Which runs are compared with which.

Twins are compared inside an arm. Two arms are compared if they differ in one thing alone: the machine, the environment or the variation
(docs/adr/0019). Two runs that were named by hand are compared as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from detctl_coordinator.domain.run import Arm

Scope = Literal["twins", "machines", "environments", "variation", "runs"]


@dataclass(frozen=True)
class ArmPair:
    """Positions of two arms and what sets them apart."""

    left: int
    right: int
    scope: Scope


def scope_of(left: Arm, right: Arm) -> Scope | None:
    """What sets two arms apart, if it is one thing alone; None: nothing or more than one."""
    changed: list[Scope] = []
    if left.machine != right.machine:
        changed.append("machines")
    if left.environment != right.environment:
        changed.append("environments")
    if left.variation != right.variation:
        changed.append("variation")
    return changed[0] if len(changed) == 1 else None


def pair_arms(arms: Sequence[Arm]) -> list[ArmPair]:
    """Pairs of arms to compare, in order. Where no two arms differ in one thing alone (runs named by hand), all pairs."""
    pairs = [
        ArmPair(i, j, scope)
        for (i, a), (j, b) in combinations(enumerate(arms), 2)
        if (scope := scope_of(a, b)) is not None
    ]
    if pairs or len(arms) < 2:
        return pairs
    return [ArmPair(i, j, "runs") for i, j in combinations(range(len(arms)), 2)]
