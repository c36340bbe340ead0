"""The interface of the store, which keeps all data of the coordinator. Synchronous and thread-safe; tests/contract tests all backends.

Writes are idempotent: a segment of (run, attempt, rank, number), an entry of (run, attempt, stream, ordinal) or a seal of (run,
attempt, rank) may be written again with the same bytes at any time. With other content it is refused and nothing changes. A sealed
rank accepts no new data, and neither does an attempt that has ended in its audit's document: `put_audit` closes such attempts in the
same step (`RunRecord.closed_through`).

Data is durable when a call returns: it survives a SIGKILL of the store (SQLite FULL, Redis AOF).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Seal, SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord


class StoreError(Exception):
    """The store refused the call or did not answer, and nothing of the call counts as stored. The message is one line for people."""


class ConflictError(StoreError):
    """The compare-and-set failed, because another caller changed the document first."""


class FencedError(StoreError):
    """A newer attempt of the run exists, or the run was deleted."""


class MissingError(StoreError):
    """The requested entry or segment does not exist."""


class RejectedDataError(StoreError):
    """The data can never be stored (an ordinal far beyond its stream, a blob over the limit), so sending it again is useless."""


class DocumentError(StoreError):
    """A stored document cannot be read, because it is damaged or was written by a newer detctl. Other documents can."""


@dataclass(frozen=True)
class Unreadable:
    """A row whose document cannot be read. Lists show it in place of its content, so that one row does not hide the others."""

    kind: str  # audit, run, machine, token
    name: str
    why: str

    @property
    def text(self) -> str:
        """The reason as one line for people."""
        return f"{self.kind} {self.name} cannot be read: {self.why}"


T = TypeVar("T")


class Rows(list[T]):
    """The readable rows. unreadable: those that cannot be read."""

    def __init__(self, readable: Iterable[T] = (), unreadable: Iterable[Unreadable] = ()) -> None:
        super().__init__(readable)
        self.unreadable = tuple(unreadable)


class NamedRows(dict[str, T]):
    """The readable rows by name. unreadable: those that cannot be read."""

    def __init__(self, readable: Mapping[str, T], unreadable: Iterable[Unreadable] = ()) -> None:
        super().__init__(readable)
        self.unreadable = tuple(unreadable)


class ContradictionError(RejectedDataError):
    """The data differs from what is stored under the same number, ordinal or rank. The stored data does not change."""


class RunOverError(FencedError):
    """The attempt has ended: stored data may be sent again, but new data is refused."""


class Store(Protocol):
    """See the module's text. Every method may raise StoreError."""

    # -- audits and runs ------------------------------------------------------------------------------------------
    def put_audit(self, audit: Audit) -> Audit:
        """Creates (version 0) or replaces an audit by compare-and-set; returns it with its new version. Raises ConflictError.

        From this step on, attempts up to each run's `closed_through` accept no new data.
        """
        ...

    def audit(self, audit_id: str) -> Audit | None:
        """Returns the audit or None. Raises DocumentError."""
        ...

    def active_audits(self) -> Rows[Audit]:
        """Returns the audits that are running or comparing."""
        ...

    def audits(self, limit: int = 100) -> Rows[Audit]:
        """Returns the newest audits, newest first."""
        ...

    def run(self, run_id: str) -> RunRecord | None:
        """Returns the run from its audit's document. Raises DocumentError."""
        ...

    def runs(self, *, audit_id: str = "", machine: str = "", recipe: str = "", limit: int = 100) -> Rows[RunRecord]:
        """Returns matching runs, newest first. A run is unreadable if its audit's document is."""
        ...

    def delete_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Deletes segments, index, seals and manifests of runs that are over; returns the ids of the deleted runs.

        Running runs stay, and so do all runs of an active audit, because its comparison needs them.
        """
        ...

    def delete_older_than(self, unix_s: float, keep_audits: bool = False) -> list[str]:
        """Deletes runs that were created before `unix_s`, and audits without runs unless `keep_audits`; returns the ids of the runs."""
        ...

    # -- machines -------------------------------------------------------------------------------------------------
    def put_machine(self, name: str, document: Mapping[str, Any]) -> None:
        """Stores a machine's document (domain/machine.py)."""
        ...

    def machines(self) -> NamedRows[Mapping[str, Any]]: ...

    # -- tokens and the log -----------------------------------------------------------------------------------------
    def put_token(self, token_id: str, document: Mapping[str, Any]) -> None:
        """Stores a new or changed token's document (domain/identity.py)."""
        ...

    def tokens(self) -> NamedRows[Mapping[str, Any]]: ...

    def append_log(self, key: str, entry: Mapping[str, Any]) -> None:
        """Appends an entry unless one with this key exists, so that two replicas write it only once. Entries are never removed."""
        ...

    def log(self, before: int = 0, limit: int = 100) -> list[tuple[int, Mapping[str, Any]]]:
        """Returns (number from 1, entry with its key under `key`), newest first; only numbers below `before` unless it is 0.

        An entry that cannot be read is replaced by one of event `unreadable`, so that the log has no gap.
        """
        ...

    # -- data of runs ---------------------------------------------------------------------------------------------
    def open_attempt(self, run_id: str, attempt: int) -> None:
        """Lets only this attempt write from now on, and deletes data of older attempts. Idempotent.

        Raises FencedError for an older attempt and for a run that no audit contains.
        """
        ...

    def put_segment(
        self,
        run_id: str,
        attempt: int,
        meta: SegmentMeta,
        columns: bytes,
        closed: Sequence[tuple[StreamKey, StepEntry]],
    ) -> None:
        """Stores a segment durably. The same segment again changes nothing.

        Raises FencedError (RunOverError if the attempt has ended), RejectedDataError (ContradictionError if its number, or the ordinal
        of one of its entries, is stored with other content, or if its rank was sealed without it).
        """
        ...

    def put_seal(self, run_id: str, attempt: int, seal: Seal) -> None:
        """Stores a seal durably. The same seal again changes nothing. Raises FencedError (RunOverError), ContradictionError."""
        ...

    # -- reading a run (its latest attempt) -----------------------------------------------------------------------
    def attempt(self, run_id: str) -> int:
        """Returns the attempt that may write; 0 if none was opened."""
        ...

    def seals(self, run_id: str) -> dict[int, Seal]: ...

    def streams(self, run_id: str) -> dict[StreamKey, int]:
        """Returns how many entries each stream has without a gap from 0."""
        ...

    def entry(self, run_id: str, key: StreamKey, ordinal: int) -> StepEntry:
        """Returns an entry. Raises MissingError."""
        ...

    def entries(self, run_id: str, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        """Returns the entries start..stop-1; fewer if the stream ends or has a gap."""
        ...

    def segment_metas(self, run_id: str, rank: int) -> list[SegmentMeta]:
        """Returns the segments' metadata, by number."""
        ...

    def segment_columns(self, run_id: str, rank: int, numbers: Iterable[int]) -> dict[int, bytes]:
        """Returns zlib of RecordColumns as it was sent, by number. Raises MissingError."""
        ...

    # -- service --------------------------------------------------------------------------------------------------
    def check(self) -> list[str]:
        """Returns warnings (CONFIG is not allowed, …). Raises StoreError if the store is unusable."""
        ...

    def close(self) -> None: ...
