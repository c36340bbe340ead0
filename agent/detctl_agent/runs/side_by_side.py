"""Decides how many runs of one configuration may train at a time, from what one of them used. Pure."""

from __future__ import annotations

from detctl_proto.recordings.side_by_side import SideBySide, SideBySideReason

from detctl_agent.launcher.usage import Room, Usage

TOGETHER_MAX = 8  # beyond that, disks and memory bandwidth decide and not processors
CORES_SPARE = 1.15  # measuring, threads that only wait and the agent itself take more than the training
MEMORY_GROWTH = 1.5  # a training may still grow after it was measured
MEMORY_SHARE = 0.8  # of what is free


def side_by_side(usage: Usage, room: Room, *, omp_dynamic: bool = False) -> SideBySide:
    """Returns how many runs may train at a time, and why not more.

    A run that kept one of two processors busy shares them with a second one. What runs might share without knowing (a GPU, ports,
    files) makes them run one after another, and so does a number of threads that depends on the load (omp_dynamic)."""

    def decision(runs: int, reason: SideBySideReason) -> SideBySide:
        return SideBySide(runs, reason, usage.cores, room.cores, usage.memory_bytes)

    for is_shared, reason in _shared(usage, omp_dynamic):
        if is_shared:
            return decision(1, reason)
    by_cores = int(room.cores * CORES_SPARE / max(usage.cores, 1.0))
    if by_cores < 2:
        return decision(1, "cores")
    by_memory = 1 + int(room.free_bytes * MEMORY_SHARE / max(1.0, usage.memory_bytes * MEMORY_GROWTH))
    if by_memory < 2:
        return decision(1, "memory")
    return decision(min(by_cores, by_memory, TOGETHER_MAX), "fits")


def _shared(usage: Usage, omp_dynamic: bool) -> tuple[tuple[bool, SideBySideReason], ...]:
    return (
        (usage.gpu, "gpu"),
        (usage.ranks > 1, "ranks"),
        (usage.listens, "ports"),
        (bool(usage.writes), "writes"),
        (usage.common_copy, "copies"),
        (omp_dynamic, "omp-dynamic"),
    )


def is_on(value: str) -> bool:
    """Whether OpenMP takes the value of a variable as true."""
    return value.strip().lower() in ("true", "1", "yes", "on")
