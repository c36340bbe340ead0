"""Answers health over a Unix socket of its own. A kubelet's exec probe asks there, since its gRPC probe has no TLS (docs/adr/0038)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

ASK_S = 5.0
LOOK_S = 0.5
_UP, _DOWN = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def keep_told(servicer: HealthServicer, services: Sequence[str], store_is_up: Callable[[], bool]) -> None:
    """For ever: a replica whose store does not answer serves nobody, and is given no calls."""
    told = None
    while True:
        status = _UP if store_is_up() else _DOWN
        if status != told:
            for service in ("", *services):
                await servicer.set(service, status)
            told = status
        await asyncio.sleep(LOOK_S)


async def serve_health(
    path: Path, servicer: HealthServicer, interceptor: grpc.aio.ServerInterceptor[Any, Any]
) -> grpc.aio.Server:
    """A started server that answers nothing else. Raises RuntimeError where the socket cannot be made."""
    server = grpc.aio.server(interceptors=[interceptor])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    umask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
        await server.start()
    finally:
        os.umask(umask)
    return server


def ask_health(path: Path) -> str:
    """Empty where the coordinator at that socket serves, else why not."""
    with grpc.insecure_channel(f"unix:{path.absolute()}") as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=ASK_S)
        except grpc.RpcError as error:
            return f"nobody answers on {path} ({error.code().name.lower()})"
    return "" if reply.status == _UP else "it is there, but its store does not answer"
