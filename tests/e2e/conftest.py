from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from deployment import RUN_DIRS, Deployment, free_port, make_numbers, wait_for


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on SQLite with its coordinator running."""
    running = Deployment(tmp_path)
    try:
        running.coordinator()
        yield running
    finally:
        running.close()


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """The data of recipes/mlp on disk."""
    return make_numbers(tmp_path / "numbers")


@pytest.fixture
def in_memory() -> Iterator[Callable[[str], Path]]:
    """Gives folders on tmpfs, where a directory is listed in another order than on disk."""
    folder = Path(tempfile.mkdtemp(prefix="numbers", dir="/dev/shm"))
    yield lambda name: folder / name
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """No training outlives a test: detctl's mark is in no process."""
    yield
    left = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                variables = (entry / "environ").read_bytes()
                if b"DETCTL_RUN_ID=" in variables and any(place.encode() in variables for place in RUN_DIRS):
                    left.append((entry.name, (entry / "cmdline").read_bytes()))
            except OSError:
                continue
    assert not left, f"left running: {left}"


@pytest.fixture
def redis() -> Iterator[Any]:
    """A real redis-server with appendonly, on loopback; .kill() and .start() again on the same files."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on PATH: apt-get install redis-server")

    class Redis:
        folder = Path(tempfile.mkdtemp(prefix="r", dir="/dev/shm"))
        port = free_port()

        def start(self) -> None:
            self.process = subprocess.Popen(
                [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--appendonly", "yes",
                 "--maxmemory-policy", "noeviction", "--save", ""],
                stdout=subprocess.DEVNULL,
            )  # fmt: skip

            def ready() -> bool:
                try:
                    with socket.create_connection(("127.0.0.1", self.port), 1) as wire:
                        wire.sendall(b"PING\r\n")
                        return wire.recv(16).startswith(b"+PONG")
                except OSError:
                    return False

            wait_for("redis answers", ready)

        def kill(self) -> None:
            self.process.kill()
            self.process.wait()

    server = Redis()
    server.start()
    yield server
    server.kill()
    shutil.rmtree(server.folder)
