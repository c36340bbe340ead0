"""One data stream: segments and seals in, an acknowledgement for each in the same order, after the store has it.

Pipelined: up to IN_FLIGHT_MAX are checked and written at once, those of one rank one after the other (so that a stream's index
never shows a hole). What the store could not take ends the stream with UNAVAILABLE and is not acknowledged: the agent sends again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from detctl_proto.v1 import agents_pb2 as pb
from detctl_proto.v1 import records_pb2

from detctl_coordinator import limits, metrics
from detctl_coordinator.byte_budget import Share
from detctl_coordinator.engine import Engine
from detctl_coordinator.errors import Code, Refusal
from detctl_coordinator.imports import is_import_id
from detctl_coordinator.interceptors import current_caller
from detctl_coordinator.lifecycle_events import RunDamaged
from detctl_coordinator.quotas import key_of
from detctl_coordinator.storage.store import Fenced, Refused
from detctl_coordinator.wire.records import bytes_to_check, seal_from_proto, segment_from_proto

log = logging.getLogger(__name__)

# 16 segments of 256 KiB are 4 MiB of memory a stream, and enough to keep a disk of 10 ms an fsync busy.
IN_FLIGHT_MAX = 16
RUNS_MAX = 4096  # owners remembered by a stream


class IngestStream:
    """See the module's text. `caller`: the machine that the metadata names; a CLI that imports a folder names none."""

    def __init__(self, engine: Engine, caller: str) -> None:
        self._engine = engine
        self._caller = caller
        self._owners: dict[str, str] = {}  # run id -> audit id, of runs that this caller may write
        self._last: dict[tuple[str, int], asyncio.Task[pb.IngestReply]] = {}  # (run, rank) -> its latest write

    async def serve(self, requests: Any) -> AsyncIterator[pb.IngestReply]:
        """Replies in the order of requests. Raises StoreError."""
        queue: asyncio.Queue[asyncio.Task[pb.IngestReply] | None] = asyncio.Queue(IN_FLIGHT_MAX)
        reader = asyncio.create_task(self._read(requests, queue))
        pending: list[asyncio.Task[pb.IngestReply]] = []
        try:
            while (task := await queue.get()) is not None:
                pending = [task]
                yield await task
            await reader
        finally:
            reader.cancel()
            while not queue.empty():
                task = queue.get_nowait()
                if task is not None:
                    pending.append(task)
            for task in pending:
                task.cancel()
            await asyncio.gather(reader, *pending, return_exceptions=True)

    async def _read(self, requests: Any, queue: asyncio.Queue[asyncio.Task[pb.IngestReply] | None]) -> None:
        try:
            async for request in requests:
                sealing = request.WhichOneof("kind") == "seal"
                part = request.seal if sealing else request.segment
                key = (part.run_id, part.rank)
                before = self._last.get(key)
                share = await self._engine.inflating.take(key_of(current_caller()), bytes_to_check(part))
                task = asyncio.create_task(self._take(part, before, share))
                task.add_done_callback(lambda _, share=share: share.release())  # type: ignore[misc]
                self._last[key] = task
                if len(self._last) > RUNS_MAX:
                    self._last = {k: t for k, t in self._last.items() if not t.done()}
                await queue.put(task)
        finally:
            await queue.put(None)

    async def _take(self, part: Any, before: asyncio.Task[pb.IngestReply] | None, share: Share) -> pb.IngestReply:
        sealing = isinstance(part, records_pb2.Seal)
        reply = pb.IngestReply(
            run_id=part.run_id, attempt=part.attempt, rank=part.rank, seal=sealing, number=0 if sealing else part.number
        )
        audit_id = ""
        try:
            audit_id = await self._owner(part.run_id)
            if sealing:
                seal = seal_from_proto(part)
                if before is not None:
                    await before
                await self._engine.store.put_seal(part.run_id, part.attempt, seal)
            else:
                meta, columns, closed = await asyncio.to_thread(segment_from_proto, part)
                share.shrink_to(meta.bytes)
                if before is not None:
                    await before
                await self._engine.store.put_segment(part.run_id, part.attempt, meta, columns, closed)
                metrics.SEGMENTS.inc()
                metrics.SEGMENT_BYTES.inc(meta.bytes)
                metrics.FINGERPRINTS.inc(meta.record_count)
        except Fenced:
            reply.fenced = True
        except (Refusal, Refused) as error:
            reply.refused = await self._refuse(part, audit_id, str(error))
        return reply

    async def _from_users(self, audit_id: str) -> bool:
        """Whether runs of this audit come from whoever may submit: imported folders, and runs that users launch themselves."""
        if is_import_id(audit_id):
            return True
        audit = await self._engine.store.audit(audit_id)
        return audit is not None and audit.request.join_only

    async def _refuse(self, part: Any, audit_id: str, why: str) -> str:
        """Data that can never be stored make the run damaged: less than everything is not compared."""
        log.warning("run=%s attempt=%d rank=%d refused=%s", limits.clean(part.run_id, 80), part.attempt, part.rank, why)
        if audit_id:
            message = f"damaged data arrived: {limits.clean(why)}"
            await self._engine.tell(audit_id, RunDamaged(part.run_id, part.attempt, message))
        return why

    async def _owner(self, run_id: str) -> str:
        """The audit of a run that the caller may write. Raises Fenced where it is gone, Refusal where it is another's."""
        if run_id not in self._owners:
            run = await self._engine.store.run(run_id) if limits.ID.fullmatch(run_id) else None
            if run is None:
                raise Fenced(f"run {limits.clean(run_id, 80)} is unknown")
            machine = run.spec.arm.machine
            if machine != self._caller and not (not self._caller and await self._from_users(run.spec.audit_id)):
                raise Refusal(
                    Code.NOT_YOURS,
                    f"run {run_id} belongs to another machine than {limits.clean(self._caller, 80) or 'this caller'}",
                )
            if len(self._owners) >= RUNS_MAX:
                self._owners.clear()
            self._owners[run_id] = run.spec.audit_id
        return self._owners[run_id]
