"""Real processes for these tests: a coordinator on a Unix socket or a TCP port. Its log is kept for the failure's report."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

ROOT = Path(__file__).resolve().parents[3]
START_S = 60.0


class CoordinatorProcess:
    """`address` is what clients use once `start` returned."""

    def __init__(self, folder: Path, *flags: str, listen: str | None = None, store: str | None = None) -> None:
        self.folder = folder
        self.listen = listen or f"unix:{folder}/c.sock"
        self.store = store or f"sqlite:{folder}/store.sqlite"
        self.flags = flags
        self.address = ""
        self.log = folder / "coordinator.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Starts it and waits until it says that it is ready."""
        reader, writer = os.pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "detctl_coordinator.main"),
                    *("--listen", self.listen, "--store", self.store, "--ready-fd", str(writer)),
                    *("--token-file", str(self.folder / "token"), *self.flags),
                ],
                stderr=log,
                stdout=log,
                stdin=subprocess.DEVNULL,
                pass_fds=[writer],
                env=environment(),
            )
        os.close(writer)
        with os.fdopen(reader) as ready:
            readable, _, _ = select.select([ready], [], [], START_S)
            self.address = ready.readline().strip() if readable else ""
        assert self.address, self.log.read_text()
        return self.address

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text().strip()

    def kill(self) -> None:
        """SIGKILL: nothing of it is left but its store."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=30)


class RedisProcess:
    """A real redis-server, durable, on a Unix socket of its own. Skips the test where there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/redis.sock?db=0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers, with everything that it had on disk."""
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        if server is None:
            pytest.skip("no redis-server on PATH")
        socket = str(self.folder / "redis.sock")
        settings = ["--port", "0", "--unixsocket", socket, "--dir", str(self.folder)]
        settings += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([server, *settings], stdout=log, stderr=log)
        client = redis.Redis(unix_socket_path=socket, retry=Retry(ConstantBackoff(0.05), 200))
        client.ping()
        client.close()

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def coordinator(
    folder: Path, *flags: str, listen: str | None = None, store: str | None = None
) -> Iterator[CoordinatorProcess]:
    """A started coordinator that ends with the block."""
    process = CoordinatorProcess(folder, *flags, listen=listen, store=store)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def environment() -> dict[str, str]:
    """Ours, with the source roots first: tests do not need an installed detctl."""
    roots = os.pathsep.join(str(ROOT / root) for root in ("proto", "agent", "coordinator", "cli"))
    return {**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": "1"}
