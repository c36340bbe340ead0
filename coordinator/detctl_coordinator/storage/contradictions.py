"""The errors of all backends for data that contradicts the stored data."""

from __future__ import annotations

from detctl_coordinator.domain.fingerprint import StreamKey
from detctl_coordinator.storage.store import ContradictionError, RunOverError


def is_over(run_id: str, attempt: int) -> RunOverError:
    """Returns the error for new data of an attempt that has ended."""
    return RunOverError(f"run {run_id}: attempt {attempt} has ended and accepts no new data")


def was_sealed(rank: int, number: int) -> ContradictionError:
    """Returns the error for a new segment of a sealed rank."""
    return ContradictionError(f"segment {number} of rank {rank} arrived after the seal of its rank")


def other_segment(rank: int, number: int) -> ContradictionError:
    """Returns the error for a segment number that is stored with other content."""
    return ContradictionError(f"segment {number} of rank {rank} was sent before with other content")


def other_entry(key: StreamKey, ordinal: int) -> ContradictionError:
    """Returns the error for a step with another stored entry, or with none although its segment is stored."""
    return ContradictionError(
        f"entry {ordinal} of {key.stage.word}/{key.phase.word}, rank {key.rank}, was sent before with other content"
    )


def other_seal(rank: int) -> ContradictionError:
    """Returns the error for a rank that has another seal."""
    return ContradictionError(f"rank {rank} was sealed before with another seal")
