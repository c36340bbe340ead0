"""The Agents service: each agent has one control stream and one data stream. audit_lifecycle.py holds the state machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from detctl_proto.v1 import agents_pb2 as pb
from detctl_proto.v1 import agents_pb2_grpc

from detctl_coordinator import limits
from detctl_coordinator.auth.caller_context import calling_machine, current_caller, peer_of
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import streaming
from detctl_coordinator.planning.run_holders import Sender
from detctl_coordinator.rpc.control_stream import ControlStream
from detctl_coordinator.rpc.ingest_stream import IngestStream
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.scheduling.transplants import kept_tensors, may_take


class AgentsServicer(agents_pb2_grpc.AgentsServicer):
    """See agents.proto."""

    def __init__(self, engine: Engine, heartbeat_s: float, version: str) -> None:
        self._engine = engine
        self._welcome = pb.Welcome(coordinator=version, heartbeat_s=heartbeat_s)

    @streaming
    async def Control(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.CoordinatorMessage]:  # noqa: N802
        async for message in ControlStream(self._engine, self._welcome, _sender(context)).serve(request_iterator):
            yield message

    @streaming
    async def Content(self, request: pb.ContentRef, context: Any) -> AsyncIterator[pb.ContentPart]:  # noqa: N802
        store = self._engine.store
        if not may_take(await store.active_audits(), calling_machine(context), request.run_id):
            raise RefusedCallError(
                Code.NOT_FOUND,
                f"no running audit lets this machine take tensors from run {limits.clean(request.run_id)}",
            )
        for part in await store.call(kept_tensors, request.run_id):
            yield pb.ContentPart(site=part.site, dtype=part.dtype, shape=part.shape, content=part.content)

    @streaming
    async def Ingest(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.IngestReply]:  # noqa: N802
        async for reply in IngestStream(self._engine, _sender(context)).serve(request_iterator):
            yield reply


def _sender(context: Any) -> Sender:
    return Sender(current_caller(), calling_machine(context), peer_of(context))
