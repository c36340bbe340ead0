"""Why a store refuses what does not agree with what it holds: the same sentences for every backend."""

from __future__ import annotations

from detctl_coordinator.domain.fingerprint import StreamKey
from detctl_coordinator.storage.store import ContradictionError, RunOverError


def is_over(run_id: str, attempt: int) -> RunOverError:
    """The attempt has ended, and this is new."""
    return RunOverError(f"run {run_id}: attempt {attempt} is over, nothing new is taken")


def was_sealed(rank: int, number: int) -> ContradictionError:
    """The rank's seal is there, and this segment is new."""
    return ContradictionError(f"segment {number} of rank {rank} came after the seal of its rank")


def other_segment(rank: int, number: int) -> ContradictionError:
    """The number is taken by other content."""
    return ContradictionError(f"segment {number} of rank {rank} was sent before with other content")


def other_entry(key: StreamKey, ordinal: int) -> ContradictionError:
    """The step has another entry, or none although its segment is there."""
    return ContradictionError(
        f"entry {ordinal} of {key.stage.word}/{key.phase.word}, rank {key.rank}, was sent before with other content"
    )


def other_seal(rank: int) -> ContradictionError:
    """The rank has another seal."""
    return ContradictionError(f"rank {rank} was sealed before with another seal")
