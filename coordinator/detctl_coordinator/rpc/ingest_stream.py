"""One data stream: receives segments and seals, and acknowledges each in the same order after the store has it.

Up to IN_FLIGHT_MAX messages are checked and written at once. Those of one rank are written one after the other, so that the index of
a stream never has a gap. If the store fails, the stream ends with UNAVAILABLE without an acknowledgement, and the agent sends again.

Only a run's holder (run_holders.py) can change it. If a holder sends data that can never be stored, because it is damaged or
contradicts earlier data, its run becomes damaged and hence unverified. Data from any other sender is refused and logged, and does not
affect the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from detctl_proto.syntax.names import is_name
from detctl_proto.v1 import agents_pb2 as pb
from detctl_proto.v1 import records_pb2

from detctl_coordinator import limits
from detctl_coordinator.domain.lifecycle_events import RunDamaged
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import count_refused
from detctl_coordinator.observability import metrics
from detctl_coordinator.planning.run_holders import Sender, is_holder, refusal_reason, sent_by_users
from detctl_coordinator.quotas.byte_budget import Share
from detctl_coordinator.quotas.quotas import key_of
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.storage.refusals import attempt_not_open, older_attempt
from detctl_coordinator.storage.store import (
    ContradictionError,
    DocumentError,
    FencedError,
    RejectedDataError,
    RunOverError,
)
from detctl_coordinator.wire.records import bytes_to_check, seal_from_proto, segment_from_proto

# 16 segments of 256 KiB take 4 MiB of memory per stream, and keep a disk busy whose fsync takes 10 ms.
IN_FLIGHT_MAX = 16
REMEMBERED_RUNS_MAX = 4096  # runs that a stream remembers


class _NotHolderError(Exception):
    """The sender may not write to this run. The message is one line for people."""


class IngestStream:
    """See the module's text. sender: who opened the stream; it is the same for all messages."""

    def __init__(self, engine: Engine, sender: Sender) -> None:
        self._engine = engine
        self._sender = sender
        # (run, attempt) -> (run, whether a user sends it), of runs that this sender may write to. An attempt keeps its holder.
        self._runs: dict[tuple[str, int], tuple[RunRecord, bool]] = {}
        self._last: dict[tuple[str, int], asyncio.Task[pb.IngestReply]] = {}  # (run, rank) -> its latest write

    async def serve(self, requests: Any) -> AsyncIterator[pb.IngestReply]:
        """Yields replies in the order of the requests. Raises StoreError."""
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
                secret = request.secret
                key = (part.run_id, part.rank)
                before = self._last.get(key)
                share = await self._engine.inflating.take(key_of(self._sender.caller), bytes_to_check(part))
                task = asyncio.create_task(self._take(part, secret, before, share))
                task.add_done_callback(lambda _, share=share: share.release())  # type: ignore[misc]
                self._last[key] = task
                if len(self._last) > REMEMBERED_RUNS_MAX:
                    self._last = {k: t for k, t in self._last.items() if not t.done()}
                await queue.put(task)
        finally:
            await queue.put(None)

    async def _take(
        self, part: Any, secret: str, before: asyncio.Task[pb.IngestReply] | None, share: Share
    ) -> pb.IngestReply:
        sealing = isinstance(part, records_pb2.Seal)
        reply = pb.IngestReply(
            run_id=part.run_id, attempt=part.attempt, rank=part.rank, seal=sealing, number=0 if sealing else part.number
        )
        run: RunRecord | None = None
        try:
            run = await self._run(part.run_id, part.attempt, secret)
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
        except _NotHolderError as error:
            reply.refused = str(error)
        except RunOverError as error:
            reply.fenced, reply.refused = True, str(error)
            await self._log_refusal(run, part.attempt, "run-over", str(error))
        except FencedError as error:
            reply.fenced = True
            await self._log_refusal(run, part.attempt, "fenced", str(error))
        except (RefusedCallError, RejectedDataError, DocumentError) as error:
            reply.refused = str(error)
            kind = "other-content" if isinstance(error, ContradictionError) else "damaged"
            await self._log_refusal(run, part.attempt, kind, str(error))
            if (
                run is not None
            ):  # data that can never be stored makes the run incomplete, and incomplete runs are not compared
                damaged = RunDamaged(part.run_id, part.attempt, f"{_ARRIVED[kind]}: {limits.clean(str(error))}")
                await self._engine.apply(run.spec.audit_id, damaged)
        return reply

    async def _run(self, run_id: str, attempt: int, secret: str) -> RunRecord:
        """Returns the run if the sender may write to this attempt of it.

        Raises _NotHolderError; FencedError if the run was deleted or has a newer attempt; StoreError if the attempt is not open yet.
        """
        known = self._runs.get((run_id, attempt))
        if known is not None and not refusal_reason(known[0], self._sender, secret, by_users=known[1]):
            return known[0]
        run = await self._engine.store.run(run_id) if is_name(run_id) else None
        audit = await self._engine.store.audit(run.spec.audit_id) if run is not None else None
        if run is None or audit is None:
            raise FencedError(f"run {limits.clean(run_id, 80)} is unknown")
        by_users = sent_by_users(audit)
        if attempt < run.attempt and is_holder(run, self._sender, by_users=by_users):
            raise older_attempt(run_id, attempt, run.attempt)
        why = refusal_reason(run, self._sender, secret, by_users=by_users)
        if why:
            count_refused("Ingest", Code.PERMISSION_DENIED)
            await self._log_refusal(run, attempt, "not-holder", why)
            raise _NotHolderError(why)
        if attempt != run.attempt:  # a later attempt may get another holder
            raise attempt_not_open(run_id, attempt)
        if len(self._runs) >= REMEMBERED_RUNS_MAX:
            self._runs.clear()
        run = replace(run, manifest={}, outcome=None)  # these may be large
        self._runs[run_id, attempt] = run, by_users
        return run

    async def _log_refusal(self, run: RunRecord | None, attempt: int, kind: str, why: str) -> None:
        audit_id, machine = (run.spec.audit_id, run.spec.arm.machine) if run is not None else ("", "")
        run_id = run.spec.run_id if run is not None else ""
        where = f"{why} (attempt {attempt})"
        await self._engine.refusals.append(self._sender, run_id, kind, where, audit_id=audit_id, machine=machine)


_ARRIVED = {"damaged": "damaged data arrived", "other-content": "contradicting data arrived"}
