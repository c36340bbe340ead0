"""Fixtures: a coordinator process and what is needed to talk to it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from coordinator_processes import CoordinatorProcess, RedisProcess, coordinator
from detctl_proto.v1 import audits_pb2_grpc
from fake_agent import OPTIONS
from tls_site import Site


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


@pytest.fixture
def redis_url(folder: Path) -> Iterator[str]:
    process = RedisProcess(folder)
    process.start()
    yield process.url
    process.stop()


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    yield from started(Site(folder))


def started(site: Site, **options: str) -> Iterator[Site]:
    """The site with its coordinator up; options: of `coordinator`."""
    tls = ("--tls", str(site.pki / "server"), "--token-file", str(site.pki / "server" / "token"))
    with coordinator(site.folder, *tls, "--heartbeat", "0.2", "--lease", "3", "--machine-timeout", "4",
                     listen="0.0.0.0:0", **options) as process:  # fmt: skip
        site.process = process
        yield site
