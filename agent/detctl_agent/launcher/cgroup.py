"""A cgroup (version 2) for each training, if the agent may make one: it enforces the limits, and shows when memory ended a run.

A cgroup with processes in it cannot delegate its controllers. So an agent that is alone in its cgroup (a service) moves into a
cgroup `agent` below it, and its trainings get `run-<key>` beside that. An agent that shares its cgroup cannot do this.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from detctl_agent.launcher.limits import Limits

CONTROLLERS = frozenset(("memory", "pids"))


@dataclass(frozen=True)
class Cgroup:
    """The cgroup of one run. back: the cgroup that the shim returns to after it has started the training."""

    folder: Path
    back: Path

    @property
    def order(self) -> dict[str, str]:
        """The part of the order that gives the shim its cgroup."""
        return {
            "enter": f"{self.folder}/cgroup.procs",
            "leave": f"{self.back}/cgroup.procs",
            "kill": f"{self.folder}/cgroup.kill",
        }

    @property
    def memory_kills(self) -> int:
        """Number of processes that the kernel killed because of the memory limit."""
        return _count(self.folder / "memory.events", "oom_kill")

    @property
    def processes_refused(self) -> int:
        """How often the run was denied another process or thread."""
        return _count(self.folder / "pids.events", "max")

    def end(self) -> None:
        """Kills the processes that are left and removes the cgroup."""
        with suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")
        with suppress(OSError):
            self.folder.rmdir()


class Cgroups:
    """The cgroups of all runs, below `base`; this process is in `agent`. why: why there are none on this machine, or empty."""

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        """Moves this process if that is needed. Never raises."""
        self._base, self._agent, self.why = Path(), Path(), ""
        base = own_cgroup((proc / "cgroup"), (proc / "mountinfo"))
        if base is None:
            self.why = "this machine has no cgroup of version 2 with memory and pids"
            return
        try:
            self._prepare(base)
        except OSError as error:
            self.why = f"{error.filename or base}: {error.strerror}"

    def make(self, key: str, limits: Limits) -> Cgroup | None:
        """A new cgroup with the limits of a run; None if there are none on this machine. Raises OSError."""
        if self.why:
            return None
        made = Cgroup(self._base / f"run-{key}", self._agent)
        made.folder.mkdir(exist_ok=True)
        (made.folder / "pids.max").write_text(str(limits.processes_max))
        if limits.memory_bytes is not None:
            (made.folder / "memory.max").write_text(str(limits.memory_bytes))
            (made.folder / "memory.oom.group").write_text("1")  # half a training would hang until its time limit
            with suppress(FileNotFoundError):  # a kernel without accounting of swap
                (made.folder / "memory.swap.max").write_text("0")
        return made

    def end(self, key: str) -> None:
        """Ends processes of a run that an earlier start of the agent left."""
        if not self.why:
            Cgroup(self._base / f"run-{key}", self._agent).end()

    def _prepare(self, base: Path) -> None:
        missing = CONTROLLERS.difference((base / "cgroup.controllers").read_text().split())
        if missing:
            self.why = f"{base} has no controller {' and '.join(sorted(missing))}"
            return
        agent = base
        if (base / "cgroup.type").exists():  # otherwise it is the machine's root, to which the rule does not apply
            if (base / "cgroup.procs").read_text().split() != [str(os.getpid())]:
                self.why = f"other processes share the agent's cgroup {base}: start it as a service with Delegate=yes"
                return
            agent = base / "agent"
            agent.mkdir(exist_ok=True)
            (agent / "cgroup.procs").write_text(str(os.getpid()))
        (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(CONTROLLERS)))
        self._base, self._agent = base, agent


def own_cgroup(membership: Path, mounts: Path) -> Path | None:
    """The folder of this process' cgroup of version 2, by /proc/self/cgroup and /proc/self/mountinfo; None if there is none."""
    try:
        found = re.search(r"^0::(/.*)$", membership.read_text(), re.MULTILINE)
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines if found else ():
        fields, _, kind = line.partition(" - ")
        root, point = fields.split(" ")[3:5]
        inside = os.path.relpath(found.group(1), root) if found else ".."
        if kind.startswith("cgroup2 ") and inside.split("/")[0] != "..":
            return Path(point) / inside
    return None


def _count(file: Path, word: str) -> int:
    try:
        text = file.read_text()
    except OSError:
        return 0
    found = re.search(rf"^{word} (\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else 0
