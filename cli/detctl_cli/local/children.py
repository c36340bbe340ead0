"""Child processes of a command: started with a log, told to end, never left behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_proto.private_files import private

from detctl_cli.errors import CliError
from detctl_cli.local.child_main import KEEP_FDS, PARENT_FD
from detctl_cli.output.clean import clean

STOP_S = 20.0
_TAIL_BYTES = 4096


def need(module: str) -> None:
    """Raises CliError where the extra that brings `module` is not installed."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None or _lacks_dependencies(package):
        raise CliError(
            "not-installed", f"{package} is not installed with all that it needs", "pip install 'detctl[all]'"
        )


def start_following(
    module: str,
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    keep_fds: Sequence[int] = (),
    **options: Any,
) -> tuple[subprocess.Popen[bytes], int]:
    """(process running MODULE, the descriptor whose closing ends it). Raises CliError; `options` are Popen's."""
    need(module)
    theirs, ours = os.pipe()
    variables = dict(os.environ if environ is None else environ)
    variables[PARENT_FD], variables[KEEP_FDS] = str(theirs), ",".join(map(str, keep_fds))
    command = [sys.executable, "-m", "detctl_cli.local.child_main", module, *arguments]
    # An interpreter that is still starting would show a traceback of Ctrl-C; child_main lets it in when it can take it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(command, env=variables, pass_fds=(theirs, *keep_fds), **options)
    except OSError as problem:
        os.close(ours)
        raise CliError("system", f"cannot start {module}: {problem}") from None
    finally:
        os.close(theirs)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process, ours


class Child:
    """One running service with its log. When we are gone, it ends (child_main.py)."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], log: Path, *, keep_fds: Sequence[int] = ()
    ) -> None:
        """`name` is what messages call it; `keep_fds` stay open in it (a lock). Raises CliError."""
        self.name, self.log = name, log
        with open(log, "ab", opener=private) as stream:
            self._process, self._lifeline = start_following(
                module,
                arguments,
                keep_fds=keep_fds,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises CliError with the last line of its log where it has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
            last = last_line(self.log)
            raise CliError("child", f"the {self.name} ended ({how}){': ' + last if last else ''}", f"log: {self.log}")

    def stop(self, timeout_s: float = STOP_S) -> None:
        """SIGTERM, then SIGKILL after `timeout_s`. A second Ctrl-C while waiting kills at once."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
            self._process.wait(timeout_s)
        except BaseException as problem:
            self._process.kill()
            self._process.wait()
            if not isinstance(problem, subprocess.TimeoutExpired):
                raise
        finally:
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1


def last_line(log: Path) -> str:
    """The last line of a log that holds anything, for an error message."""
    try:
        with open(log, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((clean(line).strip() for line in reversed(lines) if line.strip()), "")[:300]


# What each package needs beyond the base install; asked for by name, imported by the child alone.
_NEEDS = {"detctl_coordinator": ("numpy", "grpc_health", "grpc_reflection")}


def _lacks_dependencies(package: str) -> bool:
    return any(importlib.util.find_spec(name) is None for name in _NEEDS.get(package, ()))
