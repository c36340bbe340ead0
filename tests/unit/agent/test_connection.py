"""The agent stays connected, whatever the call ends with."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest
from detctl_agent.client import connection as connection_module
from detctl_agent.client.channel import Endpoint, call_status
from detctl_agent.client.connection import Connection
from detctl_agent.client.control import ControlStream
from detctl_agent.errors import AgentError
from detctl_proto.v1 import agents_pb2


def taken() -> grpc.aio.AioRpcError:
    none = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.ALREADY_EXISTS, none, none, "another agent named gpu1 is connected")


class EndedCall:
    """A call that the other side has ended with a status: what grpc.aio answers to writing and to reading."""

    async def write(self, _: object) -> None:
        raise asyncio.InvalidStateError("RPC already finished.")

    async def read(self) -> None:
        raise taken()


async def test_a_write_to_an_ended_call_tells_why_it_ended() -> None:
    call = EndedCall()
    with pytest.raises(grpc.aio.AioRpcError, match="another agent named gpu1"):
        async with call_status(call):
            await call.write(b"")


async def test_a_control_stream_whose_call_has_ended_ends_with_its_status() -> None:
    jobs: Any = SimpleNamespace(active=list)
    stub: Any = SimpleNamespace(Control=lambda metadata: EndedCall())
    hello = agents_pb2.AgentMessage
    with pytest.raises(grpc.aio.AioRpcError, match="another agent named gpu1"):
        await ControlStream(jobs, stub, (), hello, asyncio.Event(), print).run()


async def test_another_reason_is_told_and_the_same_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "BACK_OFF_FIRST_S", 0.001)
    ends: list[Exception | None] = [None, taken(), taken(), AgentError("no token"), taken()]
    told: list[str] = []
    monkeypatch.setattr(connection_module.log, "warning", told.append)

    async def once(self: Connection) -> None:
        if not ends:
            await asyncio.Event().wait()
        end = ends.pop(0)
        if end is not None:
            raise end

    monkeypatch.setattr(Connection, "_once", once)
    never: Any = None
    task = asyncio.create_task(Connection("gpu1", Endpoint(("unix:/nowhere",)), never, never, asyncio.Event()).run())
    async with asyncio.timeout(10):
        while len(told) < 4:
            await asyncio.sleep(0.001)
    task.cancel()
    reasons = ["ended the connection", "the name is taken: another agent named gpu1", "no token", "the name is taken"]
    assert len(told) == len(reasons) and all(reason in line for reason, line in zip(reasons, told, strict=True)), told


@pytest.mark.parametrize("end", [taken(), AgentError("the coordinator did not answer"), None])
async def test_every_end_of_a_connection_leads_to_the_next(monkeypatch: pytest.MonkeyPatch, end: Any) -> None:
    monkeypatch.setattr(connection_module, "BACK_OFF_FIRST_S", 0.001)
    begun = 0

    async def once(self: Connection) -> None:
        nonlocal begun
        begun += 1
        if end is not None and begun < 4:
            raise end

    monkeypatch.setattr(Connection, "_once", once)
    never: Any = None
    task = asyncio.create_task(Connection("gpu1", Endpoint(("unix:/nowhere",)), never, never, asyncio.Event()).run())
    async with asyncio.timeout(10):
        while begun < 5:
            await asyncio.sleep(0.001)
    assert not task.done()
    task.cancel()
