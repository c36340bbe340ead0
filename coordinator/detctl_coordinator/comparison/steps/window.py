"""Determines up to which step two runs can be compared.

A run that its own script ended is known to its end: if it has no step 10 and another run does, they differ in structure. A run that
was ended from outside (window, stop), crashed or is still in progress is known up to its last finished step. Data after it is not
evidence.
"""

from __future__ import annotations

from collections.abc import Iterable

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

# Stages with an entry in every step. A run without a seal is known up to the end of the shortest of their streams.
RECURRING = (Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.UPDATE)


def exited_normally(reader: RunReader) -> bool:
    """Returns whether every rank sealed when its own script exited, with exit code 0."""
    seals = reader.seals()
    outcome = reader.run.outcome
    return (
        bool(seals)
        and all(seal.reason in ("exit", "os._exit") and seal.complete for seal in seals.values())
        and (outcome is None or (outcome.exit_code == 0 and outcome.end == "exit"))
    )


def finished_steps(reader: RunReader) -> int:
    """Returns the number of steps that every rank finished, from the seals, or else from the data that arrived so far."""
    seals = reader.seals()
    ranks = {key.rank for key in reader.streams()}
    if ranks and ranks <= set(seals):
        return min(seals[rank].steps_finished for rank in ranks)
    return min((_arrived(reader, rank) for rank in ranks), default=0)


def _arrived(reader: RunReader, rank: int) -> int:
    seal = reader.seals().get(rank)
    if seal is not None:
        return seal.steps_finished
    ends = []
    for stage in _recurring(reader):
        key = StreamKey(rank, stage, Phase.TRAIN)
        entries = reader.streams().get(key, 0)
        if entries:
            ends.append(reader.entry(key, entries - 1).step + 1)
    return min(ends, default=0)


def _recurring(reader: RunReader) -> tuple[Stage, ...]:
    """Returns RECURRING, or only the loss if there is a budget. The entries of a step arrive together."""
    loss = any(count and key.stage is Stage.LOSS for key, count in reader.streams().items())
    return (Stage.LOSS,) if reader.run.spec.budget_share and loss else RECURRING


def training_steps(reader: RunReader) -> tuple[int, int] | None:
    """Returns (first, last + 1) of the training steps over all ranks; None: it finished none."""
    for stage in reversed(
        _recurring(reader)
    ):  # an update ends a step; a run without an optimizer has what comes before it
        keys = [k for k, count in reader.streams().items() if count and k.stage is stage and k.phase is Phase.TRAIN]
        if keys:
            first = min(reader.entry(key, 0).step for key in keys)
            last = max(reader.entry(key, reader.streams()[key] - 1).step for key in keys)
            return first, last + 1
    return None


def known_steps(reader: RunReader) -> int | None:
    """Returns the step below which all steps are known; None: the run is known to its end."""
    return None if exited_normally(reader) else finished_steps(reader)


def common_steps(limits: Iterable[int | None]) -> int | None:
    """Returns the smallest limit, below which all runs are known; None: each is known to its end."""
    return min((limit for limit in limits if limit is not None), default=None)


def entries_below(reader: RunReader, key: StreamKey, limit: int | None) -> int:
    """Returns the number of entries of a stream in steps below `limit`. Reads O(log n) entries."""
    total = reader.streams().get(key, 0)
    if limit is None or total == 0 or reader.entry(key, total - 1).step < limit:
        return total
    low, high = 0, total - 1  # entries below `low` are inside, entry `high` is outside
    while low < high:
        middle = (low + high) // 2
        if reader.entry(key, middle).step < limit:
            low = middle + 1
        else:
            high = middle
    return low
