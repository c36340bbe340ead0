"""Child processes of a command. They have a log, are asked to end, and never outlive the command."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_proto.files.private_files import private

from detctl_cli.errors import CliError
from detctl_cli.local.child_main import KEEP_FDS, PARENT_FD
from detctl_cli.output.clean import clean

STOP_S = 20.0
_TAIL_BYTES = 4096


def need(module: str) -> None:
    """Raises CliError if the extra that contains `module` is not installed."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None or _lacks_dependencies(package):
        raise CliError(
            "not-installed", f"{package} or a package that it needs is not installed", "pip install 'detctl[all]'"
        )


def start_following(
    module: str,
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    keep_fds: Sequence[int] = (),
    **options: Any,
) -> tuple[subprocess.Popen[bytes], int]:
    """Returns (process running MODULE, descriptor that ends it when closed). options: those of Popen. Raises CliError."""
    need(module)
    theirs, ours = os.pipe()
    variables = dict(os.environ if environ is None else environ)
    variables[PARENT_FD], variables[KEEP_FDS] = str(theirs), ",".join(map(str, keep_fds))
    command = [sys.executable, "-m", "detctl_cli.local.child_main", module, *arguments]
    # An interpreter that is still starting would print a traceback for Ctrl-C. child_main unblocks it when it can handle it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(command, env=variables, pass_fds=(theirs, *keep_fds), **options)
    except OSError as problem:
        os.close(ours)
        raise CliError("system", f"{sys.executable} cannot start {module}: {problem}") from None
    finally:
        os.close(theirs)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process, ours


class Child:
    """A running service with its log. It ends when this process is gone (child_main.py)."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        log: Path,
        *,
        keep_fds: Sequence[int] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """name: its name in messages. keep_fds: descriptors that stay open in it, such as a lock. environ: its variables;
        None: those of this process. Raises CliError."""
        self.name, self.log = name, log
        with open(log, "ab", opener=private) as stream:
            self._process, self._lifeline = start_following(
                module,
                arguments,
                environ=environ,
                keep_fds=keep_fds,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only this process, which ends the children in order
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises CliError with the last line of its log if it has ended."""
        code = self._process.poll()
        if code is not None:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
            last = last_line(self.log)
            raise CliError(
                "child", f"the {self.name} ended ({how}){': ' + last if last else ''}", f"see its log: {self.log}"
            )

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Sends SIGTERM, then SIGKILL after `timeout_s`. A second Ctrl-C kills it at once."""
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
    """Returns the last line of a log that is not blank, for an error message."""
    try:
        with open(log, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((clean(line).strip() for line in reversed(lines) if line.strip()), "")[:300]


# What each package needs beyond the base installation. Only the child imports it.
_NEEDS = {"detctl_coordinator": ("numpy", "grpc_health", "grpc_reflection")}


def _lacks_dependencies(package: str) -> bool:
    return any(importlib.util.find_spec(name) is None for name in _NEEDS.get(package, ()))
