"""The agent's side of a shim: starts it, sends it the training to start, and receives its reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detctl_proto.outside_json import parse_object

import detctl_agent
from detctl_agent.errors import AgentError
from detctl_agent.launcher.account import Account
from detctl_agent.launcher.cgroup import Cgroup

UMASK = 0o077
REPORT_BYTES_MAX = 4 << 20


class Launched:
    """A shim and its pipes. `reports`, `stdout`, `stderr` are descriptors to read from, not blocking."""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        *,
        grace_s: float = 10.0,
        umask: int = UMASK,
        after: Sequence[str] = (),
        account: Account | None = None,
        cgroup: Cgroup | None = None,
        resources: Mapping[str, int] | None = None,
    ) -> None:
        """Starts it. after: what the shim runs when no process of the training is left; account: the user that the training runs as,
        None: the user of this process; resources: RLIMIT_… by name. Raises AgentError if no process can be started."""
        commands_read, self._commands = os.pipe2(os.O_CLOEXEC)
        self.reports, reports_write = os.pipe2(os.O_CLOEXEC)
        self.stdout, stdout_write = os.pipe2(os.O_CLOEXEC)
        self.stderr, stderr_write = os.pipe2(os.O_CLOEXEC)
        self._buffer = b""
        if account:
            for descriptor in (stdout_write, stderr_write):
                os.fchown(descriptor, account.uid, account.gid)  # otherwise it could not open /dev/stdout
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-m", "detctl_agent.launcher.shim", str(commands_read), str(reports_write)],
                # None of the agent's own variables: a token must not be readable in /proc/<shim>/environ either.
                env={"PYTHONPATH": str(Path(detctl_agent.__file__).parents[1]), "LANG": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=stdout_write,
                stderr=stderr_write,
                pass_fds=(commands_read, reports_write),
                start_new_session=True,
            )
        except OSError as error:
            self._close(self._commands, self.reports, self.stdout, self.stderr)
            raise AgentError(f"cannot start a process: {error.strerror or error}") from error
        finally:
            self._close(commands_read, reports_write, stdout_write, stderr_write)
        for descriptor in (self.reports, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self._send(
            {
                "argv": list(argv),
                "cwd": str(cwd),
                "env": dict(env),
                "grace_s": grace_s,
                "umask": umask,
                "after": list(after),
                "switch": account.switch if account else {},
                "cgroup": cgroup.order if cgroup else {},
                "resources": dict(resources or {}),
            },
        )

    @property
    def shim_pid(self) -> int:
        return self._process.pid

    def end(self, grace_s: float) -> None:
        """Ends the tree: SIGTERM, then, after `grace_s`, SIGKILL until no process is left."""
        self._send({"end": grace_s})

    def read_reports(self) -> list[dict[str, Any]] | None:
        """The new reports of the shim; None once it is gone."""
        try:
            data = os.read(self.reports, 65536)
        except BlockingIOError:
            return []
        if not data:
            return None
        try:
            found, self._buffer = reports_of(self._buffer + data)
        except ValueError:
            return None
        return found

    def close(self) -> None:
        """Closes the pipes (which ends what is left) and reaps the shim."""
        self._close(self._commands, self.reports, self.stdout, self.stderr)
        self._process.wait()

    def _send(self, order: Mapping[str, Any]) -> None:
        data = memoryview(encoded(order))
        try:
            while data:
                data = data[os.write(self._commands, data) :]
        except OSError:
            pass  # the shim is gone, as its closed report pipe shows

    @staticmethod
    def _close(*descriptors: int) -> None:
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass


def encoded(order: Mapping[str, Any]) -> bytes:
    """A command to a shim, as shim.py reads it."""
    return json.dumps(order).encode("utf-8") + b"\n"


def reports_of(data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """As `lines_of`, for reports of a shim. Raises ValueError if one has another form."""
    from detctl_agent.launcher.shim_report import (
        ShimReport,  # pydantic is imported while the training starts, not before
    )

    lines, rest = lines_of(data)
    reports = [ShimReport.model_validate(line).model_dump(exclude_none=True) for line in lines]
    return reports, rest


def lines_of(data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """(complete lines as JSON, the rest) of a shim's output, which cannot be trusted if it is in another container. Raises ValueError."""
    *lines, rest = data.split(b"\n")
    if len(rest) > REPORT_BYTES_MAX:
        raise ValueError("a line without an end")
    return [parse_object(line, "a report of the shim", REPORT_BYTES_MAX, repair=True) for line in lines], rest
