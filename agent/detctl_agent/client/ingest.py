"""The data stream: sends spooled messages in windows and receives acknowledgements. Unacknowledged messages are sent again."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from detctl_proto.v1 import agents_pb2, agents_pb2_grpc
from grpc.aio import EOF  # type: ignore[attr-defined]

from detctl_agent.client.channel import call_status
from detctl_agent.jobs.job import Job
from detctl_agent.jobs.jobs import Jobs
from detctl_agent.state import spool

WINDOW_MESSAGES = 64
WINDOW_BYTES = 8 * 1024 * 1024
READ_MESSAGES = 16

_Key = tuple[str, int, int, bool, int]  # run id, attempt, rank, seal, number


@dataclass
class _Sending:
    """One job on this connection: what was sent and in which order."""

    job: Job
    position: int
    unacknowledged: deque[tuple[_Key, int]] = field(default_factory=deque)  # with the position after it
    acknowledged: set[_Key] = field(default_factory=set)


class IngestStream:
    """The data stream of one connection; ends with an RPC error, or when the coordinator ends the stream."""

    def __init__(self, jobs: Jobs, stub: agents_pb2_grpc.AgentsStub, metadata: tuple[tuple[str, str], ...]) -> None:
        self._jobs, self._stub, self._metadata = jobs, stub, metadata
        self._sending: dict[str, _Sending] = {}
        self._open: dict[_Key, tuple[_Sending, int]] = {}
        self._bytes = 0
        self._room = asyncio.Event()

    async def run(self) -> None:
        """Sends and receives until the stream ends."""
        call = self._stub.Ingest(metadata=self._metadata)
        receiving = asyncio.create_task(self._receive(call))
        sending = asyncio.create_task(self._send(call))
        try:
            done, _ = await asyncio.wait((receiving, sending), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                async with call_status(call):
                    await task
        finally:
            for task in (receiving, sending):
                task.cancel()
            await asyncio.gather(receiving, sending, return_exceptions=True)
            call.cancel()

    async def _send(self, call: Any) -> None:
        while True:
            self._jobs.send.clear()
            for job in self._jobs.to_send():
                await self._send_job(call, job)
            await self._jobs.send.wait()

    async def _send_job(self, call: Any, job: Job) -> None:
        sending = self._sending.get(job.key)
        if sending is None:
            sending = self._sending[job.key] = _Sending(job, job.acknowledged)
        while sending.position < job.spool_end and not job.fenced:
            start, stop = sending.position, job.spool_end
            batch = await asyncio.to_thread(_read, job.folder.spool, start, stop)
            if not batch:
                if not job.fenced and job.key in self._jobs.jobs:
                    self._jobs.damaged(job, sending.position)
                return
            for record in batch:
                request = agents_pb2.IngestRequest.FromString(record.payload)
                key = _key_of(request)
                while len(self._open) >= WINDOW_MESSAGES or (
                    self._bytes and self._bytes + len(record.payload) > WINDOW_BYTES
                ):
                    self._room.clear()
                    await self._room.wait()
                sending.unacknowledged.append((key, record.end))
                self._open[key] = (sending, len(record.payload))
                self._bytes += len(record.payload)
                sending.position = record.end
                await call.write(request)

    async def _receive(self, call: Any) -> None:
        while True:
            reply = await call.read()
            if reply is EOF:
                return
            if reply.fenced:
                self._forget(f"{reply.run_id}.{reply.attempt}")
                self._jobs.fence(reply.run_id, reply.attempt)
                continue
            if reply.refused:
                self._jobs.refuse_data(reply.run_id, reply.attempt, reply.refused)
            self._take(reply)

    def _take(self, reply: agents_pb2.IngestReply) -> None:
        key = (reply.run_id, reply.attempt, reply.rank, reply.seal, 0 if reply.seal else reply.number)
        found = self._open.pop(key, None)
        if found is None:
            return
        sending, size = found
        self._bytes -= size
        self._room.set()
        sending.acknowledged.add(key)
        position = 0
        while sending.unacknowledged and sending.unacknowledged[0][0] in sending.acknowledged:
            done, position = sending.unacknowledged.popleft()
            sending.acknowledged.discard(done)
        if position:
            self._jobs.acknowledge(sending.job, position)

    def _forget(self, job_key: str) -> None:
        sending = self._sending.pop(job_key, None)
        if sending is None:
            return
        for key, _ in sending.unacknowledged:
            found = self._open.pop(key, None)
            if found is not None:
                self._bytes -= found[1]
        self._room.set()


def _read(folder: Path, start: int, stop: int) -> list[spool.SpoolRecord]:
    return list(islice(spool.read(folder, start, stop), READ_MESSAGES))


def _key_of(request: agents_pb2.IngestRequest) -> _Key:
    if request.WhichOneof("kind") == "seal":
        return request.seal.run_id, request.seal.attempt, request.seal.rank, True, 0
    return request.segment.run_id, request.segment.attempt, request.segment.rank, False, request.segment.number
