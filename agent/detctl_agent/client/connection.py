"""Keeps the agent connected, with back-off and without a limit. Each change of the state or its reason is logged once."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable

import grpc
import grpc.aio
from detctl_proto.v1 import agents_pb2, agents_pb2_grpc

from detctl_agent import logs
from detctl_agent.client.channel import Endpoint, cancelled, metadata, open_channel
from detctl_agent.client.content import fetch
from detctl_agent.client.control import ControlStream
from detctl_agent.client.ingest import IngestStream
from detctl_agent.errors import AgentError
from detctl_agent.jobs.jobs import Jobs

BACK_OFF_FIRST_S, BACK_OFF_LAST_S, BACK_OFF_FACTOR = 0.2, 10.0, 1.7
log = logs.logger("client")

_WHY = {
    grpc.StatusCode.UNAUTHENTICATED: "the coordinator does not know this token: give its token file with --token-file",
    grpc.StatusCode.PERMISSION_DENIED: "the coordinator does not accept this machine",
    grpc.StatusCode.UNAVAILABLE: "nothing answers at this address",
    grpc.StatusCode.ALREADY_EXISTS: "the name is taken",
}


class Connection:
    """Control and data stream over one channel; when one of them ends, both start again."""

    def __init__(
        self,
        machine: str,
        endpoint: Endpoint,
        jobs: Jobs,
        hello: Callable[[], agents_pb2.AgentMessage],
        offers: asyncio.Event,
    ) -> None:
        self._machine = machine
        self._endpoint, self._jobs, self._hello, self._offers = endpoint, jobs, hello, offers
        self._target = endpoint.targets[0]
        self._logged = ("", "")  # the state and reason that were logged last
        self._back_off_s = BACK_OFF_FIRST_S

    @property
    def up(self) -> bool:
        """Whether the coordinator has welcomed this agent and the connection still works."""
        return self._logged[0] == "connected"

    async def run(self) -> None:
        """Connects again and again, until the task is cancelled."""
        while True:
            try:
                await self._once()
                self._log_state("disconnected", "the coordinator ended the connection")
            except grpc.aio.AioRpcError as error:
                detail = "" if error.code() is grpc.StatusCode.UNAVAILABLE else error.details() or ""
                why = _WHY.get(error.code(), error.code().name.lower())
                self._log_state("disconnected", f"{why}: {detail}" if detail else why)
            except AgentError as error:
                self._log_state("disconnected", str(error))
            self._next()
            await asyncio.sleep(self._back_off_s * random.uniform(0.7, 1.0))
            self._back_off_s = min(BACK_OFF_LAST_S, self._back_off_s * BACK_OFF_FACTOR)

    def _next(self) -> None:
        """Switches to the next replica, if there are several."""
        targets = self._endpoint.targets
        self._target = targets[(targets.index(self._target) + 1) % len(targets)]

    async def _once(self) -> None:
        call_metadata = metadata(self._machine, self._endpoint.token())
        async with open_channel(self._endpoint, self._target) as channel:
            stub = agents_pb2_grpc.AgentsStub(channel)
            control = ControlStream(self._jobs, stub, call_metadata, self._hello, self._offers, self._welcome)
            ingest = IngestStream(self._jobs, stub, call_metadata)
            self._jobs.training.fetch = functools.partial(fetch, stub, call_metadata)
            tasks = [asyncio.create_task(control.run()), asyncio.create_task(ingest.run())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    await task
            finally:
                self._jobs.training.fetch = None
                await cancelled(tasks)

    def _welcome(self, version: str) -> None:
        self._back_off_s = BACK_OFF_FIRST_S
        self._log_state("connected", "", coordinator=version)

    def _log_state(self, state: str, why: str, **fields: str) -> None:
        if (state, why) != self._logged:
            event = state if state == "connected" else "not_connected"
            level = log.info if state == "connected" else log.warning
            level(
                logs.line(
                    event,
                    to=self._target,
                    why=why,
                    retrying="" if state == "connected" else "for ever",
                    **fields,
                )
            )
        self._logged = (state, why)
