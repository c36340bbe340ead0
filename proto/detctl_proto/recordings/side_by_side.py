"""How many runs may train at a time: SideBySide of the contract. Standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

# fits: several fit. cores, memory: one run needs more than half of it. gpu: it uses one. ports: it listens on a TCP port. ranks: it
# has several ranks. writes: it writes to files outside of its private folders. copies: its copy
# of the folder lies where the copies of its twins lie, too. omp-dynamic: OMP_DYNAMIC makes the number of its
# threads depend on the load of the machine.
SideBySideReason = Literal["fits", "cores", "memory", "gpu", "ports", "ranks", "writes", "copies", "omp-dynamic"]
SIDE_BY_SIDE_REASONS: tuple[SideBySideReason, ...] = get_args(SideBySideReason)


@dataclass(frozen=True)
class SideBySide:
    """How many runs like one that was measured may train at a time. cores_used, memory_bytes: what that one used.

    runs: 1: one after another."""

    runs: int
    reason: SideBySideReason
    cores_used: float = 0.0
    cores: int = 0
    memory_bytes: int = 0
