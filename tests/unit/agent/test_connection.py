"""The agent stays connected, whatever the call ends with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from detctl_agent.client import connection as connection_module
from detctl_agent.client.channel import Endpoint
from detctl_agent.client.connection import Connection
from detctl_agent.errors import AgentError


@pytest.mark.parametrize(
    "end", [asyncio.InvalidStateError("RPC already finished."), AgentError("the coordinator did not answer"), None]
)
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
