"""Starts the coordinator: store, engine, and a gRPC server with health and reflection. Serves until a signal stops it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import resource
import signal
from pathlib import Path

import grpc
from detctl_proto.limits import MESSAGE_BYTES_MAX
from detctl_proto.v1 import admin_pb2, admin_pb2_grpc, agents_pb2, agents_pb2_grpc, audits_pb2, audits_pb2_grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from detctl_coordinator import limits
from detctl_coordinator.auth import token_file
from detctl_coordinator.auth.tls import server_credentials
from detctl_coordinator.auth.token_book import TokenBook
from detctl_coordinator.observability.health import report_store_health, serve_health
from detctl_coordinator.observability.logs import write_line
from detctl_coordinator.observability.metrics import REGISTRY
from detctl_coordinator.quotas.quotas import Quotas
from detctl_coordinator.rpc.admin import AdminServicer
from detctl_coordinator.rpc.agents import AgentsServicer
from detctl_coordinator.rpc.audits import AuditsServicer
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.server import listen
from detctl_coordinator.server.interceptors import CallInterceptor
from detctl_coordinator.server.metrics_server import MetricsServer
from detctl_coordinator.server.retention import sweep_for_ever
from detctl_coordinator.server.settings import Settings, age_s
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.store import Store

log = logging.getLogger(__name__)

GRACE_S = 2.0  # the time in which open calls may finish; streams of agents and watchers do not end on their own
PARENT_POLL_S = 0.5
SERVICES = (
    agents_pb2.DESCRIPTOR.services_by_name["Agents"].full_name,
    audits_pb2.DESCRIPTOR.services_by_name["Audits"].full_name,
    admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name,
)
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),  # our own lists and documents
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", limits.STREAMS_OF_CONNECTION_MAX),
    ("grpc.server_handshake_timeout_ms", 10_000),  # of TLS; closes a connection that sends nothing
    ("grpc.so_reuseport", 0),  # two coordinators on one port would each see half of the agents
    # Detect agents on frozen hosts, and keep idle streams open through proxies and NAT.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]


def version() -> str:
    """Returns the version of the installed distribution; `0` in a checkout that is not installed."""
    try:
        return importlib.metadata.version("detctl")
    except importlib.metadata.PackageNotFoundError:
        return "0"


async def serve(settings: Settings, store: Store, address: listen.Address) -> None:
    """Serves until SIGTERM, SIGINT or, with exit_with_parent, the parent's end. Raises ListenError, TokenError,
    CredentialsError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = Engine(AsyncStore(store), lease_s=settings.lease, machine_timeout_s=settings.machine_timeout)
    metrics = MetricsServer(REGISTRY)
    if settings.metrics:
        await metrics.start(settings.metrics)
    healthy = HealthServicer()
    server, shown = await _start(settings, engine, address, healthy)
    servers = [server]
    if settings.health_socket is not None:
        try:
            servers.append(await _start_health(settings.health_socket, healthy, Quotas(settings.quota)))
        except listen.ListenError:
            await server.stop(0)  # otherwise the garbage collector complains later about the closed event loop
            raise
    tasks = [asyncio.create_task(report_store_health(healthy, SERVICES, lambda: engine.store_is_up), name="health")]
    tasks += [asyncio.create_task(engine.run(), name="engine")]
    if settings.max_age:
        tasks.append(asyncio.create_task(sweep_for_ever(engine.store, age_s(settings.max_age)), name="retention"))
    if settings.exit_with_parent or settings.parent_pid:
        tasks.append(asyncio.create_task(_watch_parent(settings.parent_pid or os.getppid(), stop), name="parent"))
    _announce(settings, shown)
    try:
        await stop.wait()
        log.info("event=stopping")
    finally:
        await healthy.enter_graceful_shutdown()  # load balancers send no new calls
        engine.connections.close()
        await asyncio.gather(*(one.stop(GRACE_S) for one in servers))
        await metrics.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(engine.store.close)
        for socket in (address.path, str(settings.health_socket or "")):
            if socket:
                Path(socket).unlink(missing_ok=True)


async def _start(
    settings: Settings, engine: Engine, address: listen.Address, healthy: HealthServicer
) -> tuple[grpc.aio.Server, str]:
    listen.check_free(address)
    tokens, quotas = TokenBook(engine.store), Quotas(settings.quota)
    own = None if address.is_unix else token_file.read_or_make(_token_file(settings))
    interceptor = CallInterceptor(own, tokens, quotas)
    credentials = server_credentials(settings.tls) if settings.tls is not None and not address.is_unix else None
    options = [*OPTIONS, ("grpc.max_allowed_incoming_connections", _connections_max())]
    server = grpc.aio.server(interceptors=[interceptor], options=options)
    agents_pb2_grpc.add_AgentsServicer_to_server(AgentsServicer(engine, settings.heartbeat, version()), server)
    audits_pb2_grpc.add_AuditsServicer_to_server(AuditsServicer(engine, quotas), server)
    admin_pb2_grpc.add_AdminServicer_to_server(AdminServicer(engine.store, tokens), server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    # The socket's mode must be 0600 from the start.
    umask = os.umask(0o177) if address.is_unix else None
    try:
        shown = address.shown(address.port)
        port = server.add_secure_port(shown, credentials) if credentials else server.add_insecure_port(shown)
        await server.start()
    except RuntimeError as error:
        raise listen.ListenError(f"cannot listen on {address.shown(address.port)}: {error}") from error
    finally:
        if umask is not None:
            os.umask(umask)
    return server, address.shown(port)


def _connections_max() -> int:
    """Returns half of the descriptors that this process may open; the store and outgoing connections need the others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * limits.CONNECTIONS_MAX
    if 0 <= soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return limits.CONNECTIONS_MAX if soft < 0 else min(limits.CONNECTIONS_MAX, soft // 2)


async def _start_health(path: Path, healthy: HealthServicer, quotas: Quotas) -> grpc.aio.Server:
    try:
        listen.check_free(listen.Address(path=str(path.absolute())))
        return await serve_health(path, healthy, CallInterceptor(None, None, quotas))
    except (RuntimeError, OSError, listen.ListenError) as error:
        raise listen.ListenError(f"--health-socket {path}: {error}") from error


def _token_file(settings: Settings) -> Path:
    if settings.token_file is not None:
        return settings.token_file
    return settings.tls / "token" if settings.tls is not None else token_file.default_path()


def _announce(settings: Settings, shown: str) -> None:
    """Reports to people and programs that the coordinator is ready, and its address."""
    write_line(f"listening on {shown}")
    if settings.ready_file is not None:
        aside = settings.ready_file.with_name(settings.ready_file.name + ".new")
        aside.write_text(shown + "\n")
        aside.replace(settings.ready_file)
    if settings.ready_fd is not None:
        with os.fdopen(settings.ready_fd, "w") as file:
            file.write(shown + "\n")


async def _watch_parent(parent_pid: int, stop: asyncio.Event) -> None:
    """Stops when the parent process is gone. Polls, because PR_SET_PDEATHSIG fires when the thread that started us ends."""
    while os.getppid() == parent_pid:
        await asyncio.sleep(PARENT_POLL_S)
    log.info("event=parent-gone pid=%d", parent_pid)
    stop.set()
