"""A Python that has imported torch already and forks for each script: most of a short training is that import.

    training = warm().start(cwd=folder, env=variables, out=folder / "out", err=folder / "err")  # what `python train.py` would be
    code = training.wait(60.0)

A script runs as __main__ in its folder, with its variables; where these ask for the probe, it starts before the script as it does in
a Python of its own, but after torch. So trainings whose subject is the start, imports, threads or a variable that torch reads
when it is imported, are not for this; test_core_warm.py holds both kinds of start against each other.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

SCRIPT = "train.py"  # the command line of the warm Python and of all that it forks: the probe reads its own from /proc


class Training:
    """A script under way: what tests use of subprocess.Popen."""

    def __init__(self, server: Warm, pid: int) -> None:
        self.args = [sys.executable, SCRIPT]
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._ended = os.pidfd_open(pid)

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired; then the script still runs."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout_s)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout_s or 0)
            os.close(self._ended)
            self.returncode = self._server.send({})
        return self.returncode

    def kill(self) -> None:
        """Where it still runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._ended, signal.SIGKILL)


class Warm:
    """The parent's side: one script at a time."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        (Path(self._folder.name) / SCRIPT).write_text(
            f"import runpy\nrunpy.run_path({__file__!r}, run_name='__main__')\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT], cwd=self._folder.name, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def start(self, *, cwd: Path, env: dict[str, str], out: Path, err: Path) -> Training:
        """`python train.py` in cwd."""
        return Training(self, self.send({"cwd": str(cwd), "env": env, "out": str(out), "err": str(err)}))

    def send(self, order: dict[str, object]) -> int:
        """Gives an order (an empty one: to reap what has ended) and returns the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the warm Python died; its last words are in the test's stderr"
        return int(answer)

    def close(self) -> None:
        """Ends it and whatever it runs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()


@functools.cache
def warm() -> Warm:
    """The one of this test process."""
    made = Warm()
    atexit.register(made.close)
    return made


def _serve() -> None:
    import torch._dynamo  # noqa: F401 - every optimizer's first step imports it

    child = 0
    for line in sys.stdin:
        order = json.loads(line)
        if order:
            child = os.fork()
            if child == 0:
                _train(order)
            print(child, flush=True)
        else:
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


def _train(order: dict[str, object]) -> None:
    leave = os._exit  # the probe's would seal once more
    env, cwd = order["env"], str(order["cwd"])
    assert isinstance(env, dict)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, str(order["out"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, str(order["err"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    _as_new()
    code: object = 0
    try:
        _probe(env.get("PYTHONPATH", ""))
        sys.path.insert(0, cwd)
        _main(os.path.join(cwd, SCRIPT))
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is an exception: none is None
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    _shut_down()
    leave(code or 0)


def _as_new() -> None:
    """What a new Python would not have in common with the one before it."""
    import random

    import numpy as np

    random.seed()
    np.random.seed()
    tempfile.tempdir = None


def _probe(pythonpath: str) -> None:
    """As site.py would: what PYTHONPATH names comes first, and a sitecustomize there runs."""
    sys.path[0:1] = [place for place in pythonpath.split(os.pathsep) if place]
    if "DETCTL_PROBE" in os.environ:
        sys.modules.pop("sitecustomize", None)
        import sitecustomize  # noqa: F401 - it starts the probe


def _main(path: str) -> None:
    sys.argv = [SCRIPT]
    main = ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main  # as multiprocessing has it
    exec(compile(Path(path).read_bytes(), path, "exec"), main.__dict__)


def _shut_down() -> None:
    """In the order of the interpreter's own end."""
    import threading

    threading._shutdown()  # type: ignore[attr-defined]  # private, and what the interpreter calls
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    _serve()
