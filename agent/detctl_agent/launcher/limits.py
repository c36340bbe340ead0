"""Limits of memory and processes of a training, from its catalog."""

from __future__ import annotations

import signal
from dataclasses import dataclass

MEGABYTE = 1024 * 1024
# Far more threads and processes than a training of one machine starts, and far fewer than stop the machine.
PROCESSES_MAX = 16384
# The messages of Python, PyTorch, NumPy and the C library about memory that was denied.
DENIED_MEMORY = (
    "MemoryError",
    "can't allocate memory",
    "Unable to allocate",
    "Cannot allocate memory",
    "std::bad_alloc",
)


@dataclass(frozen=True)
class Limits:
    """memory_mb_max: of all processes together; None: no limit. memory_place and processes_place: where the catalog sets each limit."""

    memory_mb_max: float | None = None
    processes_max: int = PROCESSES_MAX
    memory_place: str = "the catalog"
    processes_place: str = "the catalog"

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory_mb_max is None else int(self.memory_mb_max * MEGABYTE)

    @property
    def memory_description(self) -> str:
        """`its memory limit of 4096 MB (recipe digits, memory_mb_max)`."""
        return f"its memory limit of {self.memory_mb_max:g} MB ({self.memory_place}, memory_mb_max)"

    @property
    def processes_description(self) -> str:
        return f"its limit of {self.processes_max} processes and threads ({self.processes_place}, processes_max)"

    def resources(self, *, own_user: bool) -> dict[str, int]:
        """RLIMIT_… by name, for machines without a cgroup. own_user: only the training's processes belong to its user.

        DATA counts what a process may write to and shares with nobody, for each process alone; AS would count the address space
        that CUDA reserves.
        """
        found = {"CORE": 0}
        if self.memory_bytes is not None:
            found["DATA"] = self.memory_bytes
        if own_user:
            found["NPROC"] = self.processes_max
        return found

    # -- which of them ended a training: one line; empty if none did --------------------------------------------------
    def reached(self, memory_kills: int, processes_refused: int) -> str:
        """By what the cgroup of the training counted."""
        if memory_kills:
            return f"the training was killed by {self.memory_description}"
        return f"the training ran into {self.processes_description}" if processes_refused else ""

    def reached_in_container(self, exit_code: int) -> str:
        """By how its container ended."""
        killed = self.memory_bytes is not None and exit_code == -signal.SIGKILL
        return f"the training was killed, most likely by {self.memory_description}" if killed else ""

    def reached_by_a_process(self, output: str) -> str:
        """By the last lines of its output, where no cgroup counts."""
        if self.memory_bytes is None or not any(text in output for text in DENIED_MEMORY):
            return ""
        return (
            f"the training was denied memory, most likely by {self.memory_description}: without a cgroup here, each process "
            "has this limit"
        )
