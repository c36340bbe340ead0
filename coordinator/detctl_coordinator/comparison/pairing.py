"""Decides which runs are compared with which.

Twins are compared with each other. Two configurations are compared if they differ in exactly one of machine, environment and variation
(docs/adr/0019). Runs that a user names are always compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from detctl_coordinator.domain.run import Arm

Scope = Literal["twins", "machines", "environments", "variation", "runs"]


@dataclass(frozen=True)
class ConfigurationPair:
    """The positions of two configurations, and what differs between them."""

    left: int
    right: int
    scope: Scope


def scope_of(left: Arm, right: Arm) -> Scope | None:
    """Returns what differs between two configurations; None: nothing, or more than one thing."""
    changed: list[Scope] = []
    if left.machine != right.machine:
        changed.append("machines")
    if left.environment != right.environment:
        changed.append("environments")
    if left.variation != right.variation:
        changed.append("variation")
    return changed[0] if len(changed) == 1 else None


def pair_configurations(configurations: Sequence[Arm]) -> list[ConfigurationPair]:
    """Returns the pairs to compare, in order. If no two differ in exactly one thing (runs that a user named), all pairs."""
    pairs = [
        ConfigurationPair(i, j, scope)
        for (i, a), (j, b) in combinations(enumerate(configurations), 2)
        if (scope := scope_of(a, b)) is not None
    ]
    if pairs or len(configurations) < 2:
        return pairs
    return [ConfigurationPair(i, j, "runs") for i, j in combinations(range(len(configurations)), 2)]
