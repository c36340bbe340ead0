"""The shim of a run: it is the parent of the training, and it ends the whole tree of its processes.

It is a separate process, because a killed agent must not leave a training on a GPU: when the agent's pipe closes, the shim kills
its tree. It is a subreaper, so that daemonised grandchildren and torchrun's workers (with sessions of their own) stay its
descendants. It uses only the standard library and starts nothing but the training.

    fd given as argv[1]  commands from the agent, one JSON object per line: first what to start, with `after` (a command that
                         removes what is not a descendant: a container), `switch` (the user to become), `cgroup` and `resources`
                         (its limits); then {"end": grace seconds}
    fd given as argv[2]  reports to the agent, one JSON object per line:
                         {"started": pid} | {"failed": "one line"} | {"exit": code, negative for a signal} | {"done": ended, "left": not}

If the agent's end of the command pipe closes, the shim acts as for {"end": grace}. After {"done": …} no descendant is left, and the
shim exits.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from typing import Any

from detctl_agent.launcher.prctl import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    close_proc,
    prctl,
)
from detctl_agent.launcher.tree import descendants

DEFAULT_GRACE_S = 10.0
GIVE_UP_S = 120.0  # a process that survives SIGKILL hangs in the kernel, for example in a dead mount or a broken driver
AFTER_S = 60.0
SWEEP_PAUSE_S = 0.05  # between two reads of /proc while processes are ending


class Shim:
    """The state of one shim; see the module's text."""

    def __init__(self, commands: int, reports: int) -> None:
        self._commands, self._reports = commands, reports
        self._buffer = b""
        self._open = True  # the agent's end of the command pipe
        self._process: subprocess.Popen[bytes] | None = None
        self._main: int | None = None
        self._exit_known = False
        self._term_at: float | None = None
        self._grace_s = DEFAULT_GRACE_S
        self._killed: dict[int, bool] = {}
        self._order: dict[str, Any] = {}
        self.exit_code: int | None = None  # of the training, negative for a signal
        self.ended_from_outside = False  # because the recorder asked for it, or went away

    def run(self) -> None:
        """Starts the training, waits for it, and ends what is left."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: self._end(self._grace_s))
        self._start()
        while True:
            self._reap()
            if self._exit_known:
                left = descendants(os.getpid())
                if not left or self._given_up():
                    break
                self._end(self._grace_s)
            if self._term_at is not None:
                self._sweep()
            pause = SWEEP_PAUSE_S if self._term_at is not None else None
            watched = [wake_read] + ([self._commands] if self._open else [])
            ready = select.select(watched, [], [], pause)[0]
            if wake_read in ready:
                try:
                    os.read(wake_read, 4096)
                except BlockingIOError:
                    pass
            if self._commands in ready:
                self._listen()
        self._clear_away()
        self._report(done=len(self._killed), left=len(left))

    def _start(self) -> None:
        order = self._order = self._first_line()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        self._grace_s = float(order.get("grace_s", DEFAULT_GRACE_S))
        shim = os.getpid()

        def before_exec() -> None:
            # After the change of the user, which clears it. If the shim is killed, its child ends too; the agent sweeps
            # the rest by DETCTL_RUN_ID.
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != shim:
                os._exit(127)
            for name, value in order.get("resources", {}).items():
                number = getattr(resource, f"RLIMIT_{name}")
                hard = resource.getrlimit(number)[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(number, (value, value))

        try:
            self._move("enter")
            process = subprocess.Popen(
                order["argv"],
                cwd=order["cwd"],
                env=order["env"],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                umask=order.get("umask", 0o077),
                preexec_fn=before_exec,
                **order.get("switch", {}),
            )
            self._move("leave")
        except (OSError, ValueError) as error:
            name = error.filename if isinstance(error, OSError) and error.filename else order["argv"][0]
            name = os.fsdecode(name) if isinstance(name, bytes) else str(name)
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            self._report(failed=f"{name}: {why}")
            self._exit_known = True
            return
        # Kept, because Popen reaps its child when it is deleted: the exit code of a training that has ended by then would be lost.
        self._process = process
        self._main = process.pid
        self._report(started=process.pid)

    def _move(self, where: str) -> None:
        """Enters the run's cgroup while the training starts, and leaves it again: the training inherits it and cannot leave it."""
        if place := self._order.get("cgroup", {}).get(where):
            with open(place, "w", encoding="ascii") as stream:
                stream.write("0")

    def _clear_away(self) -> None:
        if after := self._order.get("after"):
            quiet = subprocess.DEVNULL
            try:
                subprocess.run(
                    after, env=self._order["env"], stdin=quiet, stdout=quiet, stderr=quiet, timeout=AFTER_S, check=False
                )
            except (OSError, subprocess.SubprocessError):
                pass  # the agent's next start sweeps

    def _first_line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = os.read(self._commands, 65536)
            if not data:
                sys.exit(0)  # the agent went away before it sent what to start
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        order: dict[str, Any] = json.loads(line)
        return order

    def _listen(self) -> None:
        data = os.read(self._commands, 65536)
        if not data:
            self._open = False
            self._end_from_outside(self._grace_s)
            return
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._end_from_outside(float(json.loads(line).get("end", self._grace_s)))

    def _end(self, grace_s: float) -> None:
        now = time.monotonic()
        if self._term_at is None:
            self._term_at, self._grace_s = now, grace_s
        else:
            self._grace_s = min(self._grace_s, grace_s)

    def _end_from_outside(self, grace_s: float) -> None:
        self.ended_from_outside = self.ended_from_outside or self.exit_code is None
        self._end(grace_s)

    def _given_up(self) -> bool:
        return self._term_at is not None and time.monotonic() - self._term_at > self._grace_s + GIVE_UP_S

    def _sweep(self) -> None:
        """Sends each process SIGTERM once and, after the grace, SIGKILL repeatedly, because a tree may fork faster than it is read."""
        assert self._term_at is not None
        late = time.monotonic() - self._term_at >= self._grace_s
        if late and (place := self._order.get("cgroup", {}).get("kill")):
            try:
                with open(place, "w", encoding="ascii") as stream:
                    stream.write("1")
            except OSError:
                pass  # a kernel before 5.14: the loop below kills them one by one
        for pid in descendants(os.getpid()):
            if late or pid not in self._killed:
                try:
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                    if not late:
                        os.kill(pid, signal.SIGCONT)  # a stopped process must wake to end
                except OSError:
                    pass
            self._killed[pid] = late

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._main:
                self._exit_known = True
                self._killed.pop(pid, None)
                self.exit_code = os.waitstatus_to_exitcode(status)
                self._report(exit=self.exit_code)

    def _report(self, **fields: Any) -> None:
        try:
            os.write(self._reports, json.dumps(fields).encode("utf-8") + b"\n")
        except OSError:
            pass  # nobody reads the reports any more; the tree is ended anyway


def main() -> None:
    """Entry point: `python -m detctl_agent.launcher.shim COMMANDS_FD REPORTS_FD`."""
    commands, reports = int(sys.argv[1]), int(sys.argv[2])
    for number in (commands, reports):
        os.set_inheritable(number, False)
    close_proc()
    Shim(commands, reports).run()


if __name__ == "__main__":
    main()
