"""The recorder's side of attach.py: a shim in another container, reached over a socket."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_agent.errors import AgentError
from detctl_agent.launcher.process import encoded, lines_of, reports_of
from detctl_agent.sidecar.attach import SOCKET

HELLO_BYTES_MAX = 4 << 20
HELLO_S = 30.0
_CREDENTIALS = struct.Struct("3i")


class Attached:
    """A connected shim. Like Launched, but the output of the training stays in its own container. hello: the first message of attach.py."""

    def __init__(self, folder: Path, wait_s: float) -> None:
        """Waits for a training at `folder`/attach.sock. Raises AgentError if none connects within `wait_s`, or another program does."""
        path = folder / SOCKET
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(str(path))
            except OSError as error:
                raise AgentError(f"cannot listen at {path}: {error.strerror or error}") from error
            path.chmod(0o600)
            listener.listen(1)
            listener.settimeout(wait_s)
            try:
                self._socket, _ = listener.accept()
            except TimeoutError as error:
                raise AgentError(
                    f"no training connected to {path} within {wait_s:.0f} s: start it as `python3 {folder}/attach.pyz COMMAND`"
                ) from error
            finally:
                path.unlink(missing_ok=True)
        uid = _CREDENTIALS.unpack(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
        if uid != os.getuid():
            self._socket.close()
            raise AgentError(
                f"the training runs as user {uid} and the recorder as {os.getuid()}: give both one runAsUser"
            )
        self._buffer = b""
        self.hello = self._read_hello()
        self._socket.setblocking(False)
        self.reports = self._socket.fileno()
        self.stdout, self.stderr = _closed_pipe(), _closed_pipe()

    @property
    def facts(self) -> dict[str, Any]:
        """{"machine": …, "python": …, "gpu": …} of the training's container, for its manifest."""
        return {section: self.hello[section] for section in ("machine", "python", "gpu")}

    def start(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], *, grace_s: float, umask: int) -> None:
        """Sends the shim the training to start."""
        self._send({"argv": list(argv), "cwd": str(cwd), "env": dict(env), "grace_s": grace_s, "umask": umask})

    def end(self, grace_s: float) -> None:
        """Ends the tree: SIGTERM, then, after `grace_s`, SIGKILL until no process is left."""
        self._send({"end": grace_s})

    def read_reports(self) -> list[dict[str, Any]] | None:
        """The new reports of the shim; None once it is gone."""
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            found, self._buffer = reports_of(self._buffer + data)
        except ValueError:
            return None  # not our shim: its training cannot be watched
        return found

    def close(self) -> None:
        """Closes the socket, which ends what is left in the other container."""
        self._socket.close()
        for descriptor in (self.stdout, self.stderr):
            try:
                os.close(descriptor)
            except OSError:
                pass

    def _read_hello(self) -> dict[str, Any]:
        self._socket.settimeout(HELLO_S)
        try:
            while b"\n" not in self._buffer and len(self._buffer) < HELLO_BYTES_MAX:
                data = self._socket.recv(65536)
                if not data:
                    break
                self._buffer += data
            (hello, *_), self._buffer = lines_of(self._buffer)
            from detctl_agent.sidecar.hello import Hello  # pydantic, which other recordings do not need

            Hello.model_validate(hello)
        except (OSError, ValueError) as error:
            self._socket.close()
            raise AgentError(
                "the program that connected to attach.sock is not attach.pyz of this version: copy the one beside the socket"
            ) from error
        return hello

    def _send(self, order: Mapping[str, Any]) -> None:
        try:
            self._socket.setblocking(True)
            self._socket.sendall(encoded(order))
        except OSError:
            pass  # the shim is gone, as its closed socket shows
        finally:
            self._socket.setblocking(False)


def _closed_pipe() -> int:
    """A descriptor that is at its end from the beginning."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.close(write)
    return read
