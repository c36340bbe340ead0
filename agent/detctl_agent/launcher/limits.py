"""Limits of memory and processes of a training, from its catalog."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1024 * 1024
# Far more threads and processes than a training of one machine starts, and far fewer than stop the machine.
PROCESSES_MAX = 16384


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
