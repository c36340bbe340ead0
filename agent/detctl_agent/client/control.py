"""The control stream. The agent sends what it is and the states of its runs; the coordinator sends what to run and when to stop.

Both sides repeat themselves: states until they are noted, assignments until they are accepted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from detctl_proto.v1 import agents_pb2, agents_pb2_grpc
from grpc.aio import EOF  # type: ignore[attr-defined]

from detctl_agent import logs
from detctl_agent.client import messages
from detctl_agent.client.channel import call_status, cancelled
from detctl_agent.errors import AgentError
from detctl_agent.jobs.job import Job, JobPhase
from detctl_agent.jobs.jobs import Jobs

HEARTBEAT_S = 1.0
REPEAT_S = 2.0
WELCOME_S = 30.0  # enough for a coordinator with a slow store; after that, a new connection is more promising
NO_ANSWER = f"the coordinator did not answer within {WELCOME_S:.0f} s"
PHASES = {
    JobPhase.PREPARING: agents_pb2.RUN_PHASE_ACCEPTED,
    JobPhase.RUNNING: agents_pb2.RUN_PHASE_RUNNING,
    JobPhase.SENDING: agents_pb2.RUN_PHASE_RUNNING,
    JobPhase.ENDED: agents_pb2.RUN_PHASE_ENDED,
    JobPhase.REFUSED: agents_pb2.RUN_PHASE_REFUSED,
}
_NOTED = {
    agents_pb2.RUN_PHASE_ACCEPTED: JobPhase.PREPARING,
    agents_pb2.RUN_PHASE_RUNNING: JobPhase.SENDING,
    agents_pb2.RUN_PHASE_ENDED: JobPhase.ENDED,
    agents_pb2.RUN_PHASE_REFUSED: JobPhase.REFUSED,
}
log = logs.logger("control")


class ControlStream:
    """The control stream of one connection. `hello` makes the first message, and a new one whenever `offers` is set."""

    def __init__(
        self,
        jobs: Jobs,
        stub: agents_pb2_grpc.AgentsStub,
        metadata: tuple[tuple[str, str], ...],
        hello: Callable[[], agents_pb2.AgentMessage],
        offers: asyncio.Event,
        on_welcome: Callable[[str], None],
    ) -> None:
        self._jobs, self._stub, self._metadata = jobs, stub, metadata
        self._hello, self._offers, self._on_welcome = hello, offers, on_welcome
        self._heartbeat_s = HEARTBEAT_S
        self._welcomed = False

    async def run(self) -> None:
        """Sends and receives until the stream ends."""
        for job in self._jobs.active():
            job.reported = JobPhase.QUEUED  # the other end may be another coordinator
        call = self._stub.Control(metadata=self._metadata)
        self._offers.clear()
        try:
            async with asyncio.timeout(WELCOME_S), call_status(call):
                await call.write(self._hello())
        except TimeoutError:
            call.cancel()
            raise AgentError(NO_ANSWER) from None
        receiving = asyncio.create_task(self._receive(call))
        sending = asyncio.create_task(self._send(call))
        try:
            first = asyncio.FIRST_COMPLETED
            done, _ = await asyncio.wait((receiving, sending), timeout=WELCOME_S, return_when=first)
            if not done and not self._welcomed:
                raise AgentError(NO_ANSWER)
            done, _ = await asyncio.wait((receiving, sending), return_when=first)
            for task in done:
                async with call_status(call):
                    await task
        finally:
            call.cancel()
            await cancelled((receiving, sending))

    async def _send(self, call: Any) -> None:
        last_beat = 0.0
        while True:
            self._jobs.to_report.clear()
            if self._offers.is_set():
                self._offers.clear()
                await call.write(self._hello())
            for job in self._jobs.active():
                if self._is_due(job):
                    await self._send_state(call, job)
            now = time.monotonic()
            if now - last_beat >= self._heartbeat_s:
                last_beat = now
                await call.write(messages.heartbeat(job.progress for job in self._jobs.active()))
            try:
                await asyncio.wait_for(
                    self._jobs.to_report.wait(), max(0.05, last_beat + self._heartbeat_s - time.monotonic())
                )
            except TimeoutError:
                pass

    @staticmethod
    def _is_due(job: Job) -> bool:
        phase = JobPhase.RUNNING if job.phase is JobPhase.SENDING else job.phase
        if phase not in PHASES or job.noted >= job.phase:
            return job.reported is JobPhase.QUEUED and phase in PHASES
        return job.reported is not phase or time.monotonic() - job.reported_at >= REPEAT_S

    @staticmethod
    async def _send_state(call: Any, job: Job) -> None:
        phase = JobPhase.RUNNING if job.phase is JobPhase.SENDING else job.phase
        with_facts = phase in (JobPhase.RUNNING, JobPhase.ENDED)
        tail = await asyncio.to_thread(job.folder.output_tail) if phase is JobPhase.ENDED else ""
        job.reported, job.reported_at = phase, time.monotonic()
        await call.write(messages.run_state(job.run, PHASES[phase], job.manifest if with_facts else None, tail))

    async def _receive(self, call: Any) -> None:
        while True:
            message = await call.read()
            if message is EOF:
                return
            kind = message.WhichOneof("kind")
            if kind == "welcome":
                if 0 < message.welcome.heartbeat_s < HEARTBEAT_S:
                    self._heartbeat_s = max(0.1, message.welcome.heartbeat_s)
                self._welcomed = True
                self._on_welcome(message.welcome.coordinator)
            elif kind == "assignment":
                self._jobs.assign(messages.order_from(message.assignment))
            elif kind == "stop_run":
                stop = message.stop_run
                after_step = None if stop.now else stop.after_step
                self._jobs.stop(stop.run_id, stop.attempt, after_step, stop.reason or "cancelled")
            elif kind == "run_state_noted":
                noted = message.run_state_noted
                if noted.phase in _NOTED:
                    self._jobs.noted(noted.run_id, noted.attempt, _NOTED[noted.phase])
