"""Serves health checks on a separate Unix socket, for a kubelet's exec probe: its gRPC probe does not support TLS (docs/adr/0038)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

TIMEOUT_S = 5.0
POLL_S = 0.5
_UP, _DOWN = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def report_store_health(
    servicer: HealthServicer, services: Sequence[str], store_is_up: Callable[[], bool]
) -> None:
    """Reports forever whether the store answers, so that load balancers send no calls to a replica without its store."""
    reported = None
    while True:
        status = _UP if store_is_up() else _DOWN
        if status != reported:
            for service in ("", *services):
                await servicer.set(service, status)
            reported = status
        await asyncio.sleep(POLL_S)


async def serve_health(
    path: Path, servicer: HealthServicer, interceptor: grpc.aio.ServerInterceptor[Any, Any]
) -> grpc.aio.Server:
    """Starts and returns a server that answers health checks only. Raises RuntimeError if the socket cannot be created."""
    server = grpc.aio.server(interceptors=[interceptor])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    umask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
        await server.start()
    finally:
        os.umask(umask)
    return server


def check_health(path: Path) -> str:
    """Returns "" if the coordinator at this socket serves calls, else the reason why it does not."""
    with grpc.insecure_channel(f"unix:{path.absolute()}") as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"no coordinator answers on {path} ({error.code().name.lower()})"
    return "" if reply.status == _UP else "the coordinator runs, but its store does not answer"
