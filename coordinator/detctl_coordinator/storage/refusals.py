"""The errors that all backends raise, so that each has the same text everywhere."""

from __future__ import annotations

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import StreamKey
from detctl_coordinator.storage.store import (
    ConflictError,
    ContradictionError,
    FencedError,
    MissingError,
    RunOverError,
    StoreError,
)


def stream_name(key: StreamKey) -> str:
    """Returns the name of a stream in messages: `forward/train, rank 0`."""
    return f"{key.stage.word}/{key.phase.word}, rank {key.rank}"


def conflict(audit: Audit) -> ConflictError:
    """Returns the error for an audit that another caller has changed."""
    return ConflictError(
        f"another caller has changed audit {audit.audit_id} (version {audit.version} is not the latest)"
    )


def unknown_run(run_id: str) -> FencedError:
    """Returns the error for a run that no audit contains."""
    return FencedError(f"run {run_id} does not exist: it was deleted or never planned")


def older_attempt(run_id: str, attempt: int, current: int) -> FencedError:
    """Returns the error for an attempt that a newer one has replaced."""
    return FencedError(f"run {run_id}: attempt {attempt} is older than attempt {current}")


def attempt_not_open(run_id: str, attempt: int) -> StoreError:
    """Returns the error for an attempt that may not write yet."""
    return StoreError(f"run {run_id}: attempt {attempt} is not open yet")


def missing_entry(run_id: str, key: StreamKey, ordinal: int) -> MissingError:
    """Returns the error for an entry that is not stored."""
    return MissingError(f"run {run_id}: no entry {ordinal} of {stream_name(key)}")


def missing_segment(run_id: str, rank: int, number: int) -> MissingError:
    """Returns the error for a segment that is not stored."""
    return MissingError(f"run {run_id}: no segment {number} of rank {rank}")


def run_is_over(run_id: str, attempt: int) -> RunOverError:
    """Returns the error for new data of an attempt that has ended."""
    return RunOverError(f"run {run_id}: attempt {attempt} has ended and accepts no new data")


def rank_is_sealed(rank: int, number: int) -> ContradictionError:
    """Returns the error for a new segment of a sealed rank."""
    return ContradictionError(f"segment {number} of rank {rank} arrived after the seal of its rank")


def other_segment(rank: int, number: int) -> ContradictionError:
    """Returns the error for a segment number that is stored with other content."""
    return ContradictionError(f"segment {number} of rank {rank} was sent before with other content")


def other_entry(key: StreamKey, ordinal: int) -> ContradictionError:
    """Returns the error for a step with another stored entry, or with none although its segment is stored."""
    return ContradictionError(f"entry {ordinal} of {stream_name(key)}, was sent before with other content")


def other_seal(rank: int) -> ContradictionError:
    """Returns the error for a rank that has another seal."""
    return ContradictionError(f"rank {rank} was sealed before with another seal")
