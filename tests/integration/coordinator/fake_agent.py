"""A scripted agent over real gRPC: says Hello, takes assignments, sends segments and seals, reports. No training."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from detctl_proto.v1 import agents_pb2 as pb
from detctl_proto.v1 import agents_pb2_grpc, audits_pb2
from made_up_runs import Sample, make

OPTIONS = [("grpc.enable_http_proxy", 0)]
Script = Callable[["FakeAgent", pb.Assignment], Sample | None]


def sound(agent: FakeAgent, assignment: pb.Assignment) -> Sample:
    """The same training on every machine."""
    return make(assignment.run_id, assignment.attempt)


def other(agent: FakeAgent, assignment: pb.Assignment) -> Sample:
    """Another training from step 1 on."""
    return make(assignment.run_id, assignment.attempt, differs_from_step=1, salt=agent.name)


def nothing(agent: FakeAgent, assignment: pb.Assignment) -> None:
    """A training in which no probe answers."""


class RefusedOrderError(Exception):
    """The machine will not run it."""


def refuse(agent: FakeAgent, assignment: pb.Assignment) -> None:
    """The recipe is another than the one that was planned."""
    raise RefusedOrderError("recipe digits changed after planning")


@dataclass
class FakeAgent:
    """`assigned` and `stopped` collect what the coordinator said; `hold` keeps runs from ending until it is set;
    sends_before_hold: their data are sent before."""

    name: str
    address: str
    boot_id: str = "boot-1"
    script: Script = sound
    metadata: tuple[tuple[str, str], ...] = ()
    credentials: grpc.ChannelCredentials | None = None
    parallel_runs: int = 1
    sends_before_hold: bool = False
    recipes: tuple[str, ...] = ("digits",)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    assigned: asyncio.Queue[pb.Assignment] = field(default_factory=asyncio.Queue)
    stopped: asyncio.Queue[pb.StopRun] = field(default_factory=asyncio.Queue)
    noted: asyncio.Queue[pb.RunStateNoted] = field(default_factory=asyncio.Queue)
    welcomed: asyncio.Event = field(default_factory=asyncio.Event)
    refused_once: asyncio.Event = field(default_factory=asyncio.Event)  # some stream ended with UNAVAILABLE
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    working: dict[tuple[str, int], int] = field(default_factory=dict)
    _out: asyncio.Queue[pb.AgentMessage | None] = field(default_factory=asyncio.Queue)
    _ends: dict[tuple[str, int], pb.RunState] = field(default_factory=dict)
    _runs: dict[tuple[str, int], asyncio.Task[None]] = field(default_factory=dict)

    def hello(self) -> pb.Hello:
        recipe_offers = [
            pb.RecipeOffer(
                name=name, source_digest="ab" * 16, parameters={"data": "/data", "workers": "2"}, paths=["data"]
            )
            for name in self.recipes
        ]
        return pb.Hello(
            machine=self.name,
            version="0.1.0",
            recipes=recipe_offers,
            environments=[pb.EnvironmentOffer(name="default")],
            manifest_json=json.dumps({"machine": {"name": self.name}}),
            parallel_runs=self.parallel_runs,
            boot_id=self.boot_id,
        )

    def channel(self) -> grpc.aio.Channel:
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, options=OPTIONS)
        return grpc.aio.secure_channel(self.address, self.credentials, options=OPTIONS)

    def say(self, **message: Any) -> None:
        self._out.put_nowait(pb.AgentMessage(**message))

    def beat(self) -> None:
        runs = [
            pb.RunProgress(run_id=r, attempt=a, step=step, records=step * 7) for (r, a), step in self.working.items()
        ]
        self.say(heartbeat=pb.Heartbeat(runs=runs))

    async def serve_once(self) -> None:
        """One connection, until it breaks or is cancelled."""
        self._out = asyncio.Queue()
        async with self.channel() as channel:
            stub = agents_pb2_grpc.AgentsStub(channel)
            self.say(hello=self.hello())
            self.beat()
            for state in self._ends.values():
                self.say(run_state=state)
            call = stub.Control(self._messages(), metadata=(*self.metadata, ("detctl-machine", self.name)))
            beats = asyncio.create_task(self._beats())
            try:
                async for message in call:
                    self._hear(message, stub)
            finally:
                beats.cancel()
                call.cancel()

    async def serve(self) -> None:
        """Reconnects for ever."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self.serve_once()
            await asyncio.sleep(0.05)

    async def _messages(self) -> AsyncIterator[pb.AgentMessage]:
        while (message := await self._out.get()) is not None:
            yield message

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            self.beat()

    def _hear(self, message: pb.CoordinatorMessage, stub: Any) -> None:
        kind = message.WhichOneof("kind")
        if kind == "welcome":
            self.welcomed.set()
        elif kind == "assignment":
            key = (message.assignment.run_id, message.assignment.attempt)
            if key not in self._runs:
                self.working[key] = 0
                self.assigned.put_nowait(message.assignment)
                self._runs[key] = asyncio.create_task(self._run(message.assignment))
            self.say(run_state=pb.RunState(run_id=key[0], attempt=key[1], phase=pb.RUN_PHASE_ACCEPTED))
        elif kind == "stop_run":
            self.stopped.put_nowait(message.stop_run)
        elif kind == "run_state_noted":
            noted = message.run_state_noted
            self.noted.put_nowait(noted)
            if noted.phase in (pb.RUN_PHASE_ENDED, pb.RUN_PHASE_REFUSED):
                self._ends.pop((noted.run_id, noted.attempt), None)
                self.working.pop((noted.run_id, noted.attempt), None)

    async def _run(self, assignment: pb.Assignment) -> None:
        key = (assignment.run_id, assignment.attempt)
        manifest = json.dumps({"machine": {"name": self.name}, "recipe": {"name": assignment.recipe}})
        self.say(
            run_state=pb.RunState(run_id=key[0], attempt=key[1], phase=pb.RUN_PHASE_RUNNING, manifest_json=manifest)
        )
        try:
            sample = self.script(self, assignment)
        except RefusedOrderError as why:
            self._ends[key] = pb.RunState(run_id=key[0], attempt=key[1], phase=pb.RUN_PHASE_REFUSED, message=str(why))
            self.say(run_state=self._ends[key])
            return
        self.working[key] = len(sample.segments) if sample else 0
        if sample and self.sends_before_hold:
            await self.send(sample)
            self.sent.set()
        await self.hold.wait()
        if sample:  # again, where it was sent before: that must change nothing
            await self.send(sample)
        self._ends[key] = pb.RunState(
            run_id=key[0],
            attempt=key[1],
            phase=pb.RUN_PHASE_ENDED,
            manifest_json=manifest,
            end="window",
            ranks=1,
            output_tail="loss 0.5\n",
        )
        self.say(run_state=self._ends[key])

    async def send(self, sample: Sample) -> list[pb.IngestReply]:
        """Sends until everything is acknowledged, over as many connections as it takes."""
        requests = [pb.IngestRequest(segment=segment) for segment in sample.segments] + [
            pb.IngestRequest(seal=sample.seal)
        ]
        while True:
            try:
                return await self.ingest(requests)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                self.refused_once.set()
                await asyncio.sleep(0.05)

    async def ingest(self, requests: list[pb.IngestRequest], machine: str | None = None) -> list[pb.IngestReply]:
        """One data stream; returns the replies in order."""
        async with self.channel() as channel:
            stub = agents_pb2_grpc.AgentsStub(channel)
            metadata = (*self.metadata, ("detctl-machine", machine or self.name))
            return [reply async for reply in stub.Ingest(iter(requests), metadata=metadata)]


@contextlib.asynccontextmanager
async def serving(*agents: FakeAgent) -> AsyncIterator[None]:
    """Agents that are connected and known while the block runs."""
    tasks = [asyncio.create_task(agent.serve()) for agent in agents]
    try:
        await asyncio.gather(*(agent.welcomed.wait() for agent in agents))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def finish(audits, audit_id):
    """The last message of a watch."""
    last = None
    async for progress in audits.WatchAudit(audits_pb2.AuditRef(audit_id=audit_id)):
        last = progress
    return last
