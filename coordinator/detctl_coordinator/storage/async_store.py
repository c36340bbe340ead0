"""The store for coroutines. Each call runs in a thread of a separate pool, so that a slow disk never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Seal, SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.storage.store import NamedRows, Rows, Store

P = ParamSpec("P")
T = TypeVar("T")

# Writes wait for the disk, not for a core; enough concurrent writes fill a group commit.
WRITERS = 16
# A comparison uses a core and may take seconds; it must not delay segments.
READERS = 2


class AsyncStore:
    """Same methods and errors as Store. `call(function, ...)` runs function(store, ...) in a reader's thread."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="store")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="compare")

    async def call(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a longer job that reads the store."""
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, lambda: function(self.inner, *args, **kwargs)
        )

    async def _do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writers, lambda: function(*args, **kwargs))

    async def put_audit(self, audit: Audit) -> Audit:
        return await self._do(self.inner.put_audit, audit)

    async def audit(self, audit_id: str) -> Audit | None:
        return await self._do(self.inner.audit, audit_id)

    async def active_audits(self) -> Rows[Audit]:
        return await self._do(self.inner.active_audits)

    async def audits(self, limit: int = 100) -> Rows[Audit]:
        return await self._do(self.inner.audits, limit)

    async def run(self, run_id: str) -> RunRecord | None:
        return await self._do(self.inner.run, run_id)

    async def runs(
        self, *, audit_id: str = "", machine: str = "", recipe: str = "", limit: int = 100
    ) -> Rows[RunRecord]:
        return await self._do(self.inner.runs, audit_id=audit_id, machine=machine, recipe=recipe, limit=limit)

    async def delete_runs(self, run_ids: Sequence[str]) -> list[str]:
        return await self._do(self.inner.delete_runs, run_ids)

    async def delete_older_than(self, unix_s: float, keep_audits: bool = False) -> list[str]:
        return await self._do(self.inner.delete_older_than, unix_s, keep_audits)

    async def put_machine(self, name: str, document: Mapping[str, Any]) -> None:
        await self._do(self.inner.put_machine, name, document)

    async def machines(self) -> NamedRows[Mapping[str, Any]]:
        return await self._do(self.inner.machines)

    async def put_token(self, token_id: str, document: Mapping[str, Any]) -> None:
        await self._do(self.inner.put_token, token_id, document)

    async def tokens(self) -> NamedRows[Mapping[str, Any]]:
        return await self._do(self.inner.tokens)

    async def append_log(self, key: str, entry: Mapping[str, Any]) -> None:
        await self._do(self.inner.append_log, key, entry)

    async def log(self, before: int = 0, limit: int = 100) -> list[tuple[int, Mapping[str, Any]]]:
        return await self._do(self.inner.log, before, limit)

    async def open_attempt(self, run_id: str, attempt: int) -> None:
        await self._do(self.inner.open_attempt, run_id, attempt)

    async def put_segment(
        self,
        run_id: str,
        attempt: int,
        meta: SegmentMeta,
        columns: bytes,
        closed: Sequence[tuple[StreamKey, StepEntry]],
    ) -> None:
        await self._do(self.inner.put_segment, run_id, attempt, meta, columns, closed)

    async def put_seal(self, run_id: str, attempt: int, seal: Seal) -> None:
        await self._do(self.inner.put_seal, run_id, attempt, seal)

    async def seals(self, run_id: str) -> dict[int, Seal]:
        return await self._do(self.inner.seals, run_id)

    def close(self) -> None:
        """Waits for running calls, then closes the store."""
        self._writers.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.inner.close()
