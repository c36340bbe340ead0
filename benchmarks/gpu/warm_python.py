"""Keeps a Python that has imported torch and forks for each training, because the import takes most of a short training.

`warm_python.py SOCKET` is the server. `WarmProcess` is the client's handle of a training, with the methods of subprocess.Popen that are
used here. The server does not start CUDA before a fork. A training ends with its client's connection, so that an ended part leaves
nothing on the GPU.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO

VARIABLE = "ACCEPTANCE_WARM"  # where the server listens; unset: each training gets a Python of its own
ORDER_BYTES_MAX = 1 << 20


class WarmProcess:
    """A requested training. It has `stdin` and `stdout` if pipes=True."""

    def __init__(
        self, address: str, arguments: Sequence[str], env: Mapping[str, str], out: IO[str], err: IO[str], pipes: bool
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.connect(address)
        closing: list[int] = []
        with open(os.devnull) as nothing:
            descriptors = [nothing.fileno(), out.fileno(), err.fileno()]
            if pipes:
                read_in, write_in = os.pipe()
                read_out, write_out = os.pipe()
                self.stdin, self.stdout = os.fdopen(write_in, "w"), os.fdopen(read_out)
                descriptors[:2] = closing = [read_in, write_out]
            order = json.dumps({"arguments": self.args, "env": dict(env)}).encode() + b"\n"
            sent = socket.send_fds(self._connection, [order], descriptors)
            self._connection.sendall(order[sent:])
        for descriptor in closing:
            os.close(descriptor)

    def wait(self, seconds: float | None = None) -> int:
        """Returns the exit code. Raises subprocess.TimeoutExpired, and the training continues."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired(self.args, seconds or 0)
            answer = self._connection.recv(64)
            self.returncode = int(answer) if answer else -signal.SIGKILL
            self._connection.close()
        return self.returncode

    def kill(self) -> None:
        """Ends the training if it still runs."""
        if self.returncode is None:
            self.returncode = -signal.SIGKILL
            self._connection.close()


def start_server(folder: Path, environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """Returns (the server, its address) when it has imported torch. Raises RuntimeError if it cannot."""
    address = str(folder / "warm")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=(folder / "warm.log").open("wb"), env=environ, pass_fds=[listener.fileno()], start_new_session=True,
        )  # fmt: skip
    assert server.stdout is not None
    if not server.stdout.readline():
        server.wait()
        raise RuntimeError((folder / "warm.log").read_text("utf-8", "replace")[-500:])
    return server, address


def _serve(listener: socket.socket) -> None:
    import torch._dynamo  # noqa: F401 - every optimizer's first step imports it

    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors need no reaping
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _supervise(connection)
        connection.close()


def _supervise(connection: socket.socket) -> None:
    """Forks the training, reports its exit code, and ends it if the client is gone."""
    data, descriptors = _received(connection)
    order = json.loads(data)
    child = os.fork()
    if child == 0:
        connection.close()
        _train(order["arguments"], order["env"], descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    try:
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    except OSError:  # the client is gone
        pass
    os._exit(0)


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    descriptors = array.array("i")
    data, ancillary, _, _ = connection.recvmsg(ORDER_BYTES_MAX, socket.CMSG_LEN(3 * descriptors.itemsize))
    for _, _, content in ancillary:
        descriptors.frombytes(content)
    while not data.endswith(b"\n"):
        data += connection.recv(ORDER_BYTES_MAX)
    return data, list(descriptors)


def _train(arguments: list[str], env: dict[str, str], descriptors: list[int]) -> None:
    """Runs arguments[0] as __main__ with its variables, as its own Python would; never returns."""
    leave = os._exit  # the probe's version would seal again
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    folder = str(Path(arguments[0]).parent)
    os.chdir(folder)
    random.seed()
    tempfile.tempdir = None
    code: object = 0
    try:
        sys.path[0:1] = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place]
        if "DETCTL_PROBE" in os.environ:
            sys.modules.pop("sitecustomize", None)
            import sitecustomize  # noqa: F401 - it starts the probe
        sys.path.insert(0, folder)
        sys.argv = list(arguments)
        main = ModuleType("__main__")
        main.__file__ = arguments[0]
        sys.modules["__main__"] = sys.modules["__mp_main__"] = main  # as multiprocessing has it
        exec(compile(Path(arguments[0]).read_bytes(), arguments[0], "exec"), main.__dict__)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is an exception: none is None
        code = 1
    import threading

    threading._shutdown()  # type: ignore[attr-defined]  # in the order of the interpreter's own end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    leave(code if isinstance(code, int) else 1 if code else 0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
