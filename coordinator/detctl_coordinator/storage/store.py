"""The store: what the coordinator keeps, behind one interface. Synchronous and thread-safe; one contract suite for all backends.

Idempotent by content: a segment under (run, attempt, rank, number), an entry under (run, attempt, stream, ordinal), a seal under
(run, attempt, rank) may be written again as it is stored, byte for byte, at any time. With other content it is refused and nothing
changes. Nothing new is taken under a rank that was sealed, nor under an attempt that its audit's document has as ended: `put_audit`
closes those in the same step (`RunRecord.closed_through`).

"Stored" means durable: a call that returned has survived a SIGKILL of the store (SQLite FULL, Redis AOF).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Seal, SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord


class StoreError(Exception):
    """The store said no or did not answer; nothing of the call counts as stored. One line for people."""


class ConflictError(StoreError):
    """Compare-and-set lost: somebody advanced the document first."""


class FencedError(StoreError):
    """A newer attempt of the run exists, or the run was deleted."""


class MissingError(StoreError):
    """Asked for an entry or a segment that is not there."""


class RejectedDataError(StoreError):
    """Can never be stored as it is (an ordinal far beyond its stream, a blob over the limit): do not send it again."""


class DocumentError(StoreError):
    """A stored document cannot be read: damaged, or written by a newer detctl. The others can."""


@dataclass(frozen=True)
class Unreadable:
    """A row whose document cannot be read. Lists show it in place of what it holds: one row must not hide the others."""

    kind: str  # audit, run, machine, token
    name: str
    why: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.kind} {self.name} cannot be read: {self.why}"


T = TypeVar("T")


class Rows(list[T]):
    """The rows that can be read; `unreadable`: those that cannot."""

    def __init__(self, readable: Iterable[T] = (), unreadable: Iterable[Unreadable] = ()) -> None:
        super().__init__(readable)
        self.unreadable = tuple(unreadable)


class NamedRows(dict[str, T]):
    """The same by name."""

    def __init__(self, readable: Mapping[str, T], unreadable: Iterable[Unreadable] = ()) -> None:
        super().__init__(readable)
        self.unreadable = tuple(unreadable)


class ContradictionError(RejectedDataError):
    """Says something else than what is stored under the same number, ordinal or rank. What is stored stays as it was."""


class RunOverError(FencedError):
    """The attempt has ended: what is stored may be sent again, nothing new is taken."""


class Store(Protocol):
    """See the module's text. Every method may raise StoreError."""

    # -- audits and runs ------------------------------------------------------------------------------------------
    def put_audit(self, audit: Audit) -> Audit:
        """Creates (version 0) or advances by compare-and-set; returns it with its new version. Raises ConflictError.

        Attempts up to each run's `closed_through` take nothing new from this step on.
        """
        ...

    def audit(self, audit_id: str) -> Audit | None:
        """Raises DocumentError."""
        ...

    def active_audits(self) -> Rows[Audit]:
        """Running or comparing."""
        ...

    def audits(self, limit: int = 100) -> Rows[Audit]:
        """Newest first."""
        ...

    def run(self, run_id: str) -> RunRecord | None:
        """The run as its audit's document has it. Raises DocumentError."""
        ...

    def runs(self, *, audit_id: str = "", machine: str = "", recipe: str = "", limit: int = 100) -> Rows[RunRecord]:
        """Newest first; a run is as readable as its audit's document."""
        ...

    def delete_runs(self, run_ids: Sequence[str]) -> list[str]:
        """Forgets segments, index, seals, manifests of runs that are over; returns those deleted.

        Running ones stay, and all runs of an active audit: its comparison needs them.
        """
        ...

    def delete_older_than(self, unix_s: float) -> list[str]:
        """Deletes runs (and audits left empty) created before; returns run ids."""
        ...

    # -- machines -------------------------------------------------------------------------------------------------
    def put_machine(self, name: str, document: Mapping[str, Any]) -> None:
        """Hello of an agent as JSON values, with last_seen_unix_s."""
        ...

    def machines(self) -> NamedRows[Mapping[str, Any]]: ...

    # -- who may, and who did ---------------------------------------------------------------------------------------
    def put_token(self, token_id: str, document: Mapping[str, Any]) -> None:
        """A token as JSON values, new or changed."""
        ...

    def tokens(self) -> NamedRows[Mapping[str, Any]]: ...

    def append_log(self, key: str, entry: Mapping[str, Any]) -> None:
        """Appends unless an entry of this key is there: two replicas that tell the same thing tell it once. Nothing removes an entry."""
        ...

    def log(self, before: int = 0, limit: int = 100) -> list[tuple[int, Mapping[str, Any]]]:
        """(number from 1, entry with its key under `key`), newest first; those below `before` where it is not 0.

        An entry that cannot be read stands there as one of event `unreadable`: the log shows no gap.
        """
        ...

    # -- what a run sent ------------------------------------------------------------------------------------------
    def open_attempt(self, run_id: str, attempt: int) -> None:
        """From now on only this attempt may write; idempotent; what older attempts wrote is forgotten.

        Raises FencedError for an older attempt and for a run that no audit holds.
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
        """Durable when it returns. The same segment again changes nothing.

        Raises FencedError (RunOverError where the attempt has ended), RejectedDataError (ContradictionError where its number, or the
        ordinal of one of its entries, has other content, and where its rank was sealed without it).
        """
        ...

    def put_seal(self, run_id: str, attempt: int, seal: Seal) -> None:
        """Durable when it returns; the same seal again changes nothing. Raises FencedError (RunOverError), ContradictionError."""
        ...

    # -- reading a run (its latest attempt) -----------------------------------------------------------------------
    def attempt(self, run_id: str) -> int:
        """The attempt that may write; 0: none was opened."""
        ...

    def seals(self, run_id: str) -> dict[int, Seal]: ...

    def streams(self, run_id: str) -> dict[StreamKey, int]:
        """How many entries each stream has (gapless from 0)."""
        ...

    def entry(self, run_id: str, key: StreamKey, ordinal: int) -> StepEntry:
        """Raises MissingError."""
        ...

    def entries(self, run_id: str, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        """Entries start..stop-1; fewer where the stream ends or has a gap."""
        ...

    def segment_metas(self, run_id: str, rank: int) -> list[SegmentMeta]:
        """In order of number."""
        ...

    def segment_columns(self, run_id: str, rank: int, numbers: Iterable[int]) -> dict[int, bytes]:
        """zlib of RecordColumns, as it was sent. Raises MissingError."""
        ...

    # -- service --------------------------------------------------------------------------------------------------
    def check(self) -> list[str]:
        """Raises StoreError where the store is unusable; returns warnings (CONFIG barred, …)."""
        ...

    def close(self) -> None: ...
