"""What the processes of a training use of this machine, from /proc, and how much the machine has."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from detctl_agent.launcher.tree import descendants

LOOK_S = 0.5  # between two looks
LATER_S = 5.0  # between two looks once the training has been seen long enough
ENOUGH_S = 2.0  # of training, after which what a run uses is known
SHORTEST_S = 0.2  # a shorter run shows nothing
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"  # the state of such a socket in /proc/net/tcp
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri/renderD")
SHARED_BY_DESIGN = ("/dev/", "/proc/", "/sys/")
_NS = 1e9


@dataclass(frozen=True)
class Usage:
    """cores: processors that it kept busy, or would have kept busy if others had not used them. memory_bytes: of all its processes
    together. writes: a file outside of its own folders that it has open for writing; empty: none was seen.
    common_copy: it trains in a copy whose place all its twins use."""

    cores: float
    memory_bytes: int
    gpu: bool = False
    listens: bool = False
    writes: str = ""
    common_copy: bool = False
    ranks: int = 1


@dataclass(frozen=True)
class Room:
    """Processors that trainings may use here, and memory that is free now."""

    cores: int
    free_bytes: int


class UsageMeter:
    """Looks at a process and its descendants from time to time. Costs some milliseconds of the agent's time for each look."""

    def __init__(self, pid: int, own_folders: Sequence[Path], now: float) -> None:
        self._pid = pid
        self._own = tuple(f"{place}/" for place in own_folders)
        self._busy: dict[int, float] = {}  # process -> seconds on processors or waiting for one
        self._looks: list[tuple[float, float]] = [(now, 0.0)]
        self._training_since: int | None = None  # index of the first look in training
        self._memory_bytes = 0
        self._gpu = self._listens = self._saw_files = False
        self._writes = ""

    def look(self, now: float, *, training: bool) -> None:
        """Takes a sample, if the last one is old enough."""
        if now - self._looks[-1][0] < (LATER_S if self.is_enough else LOOK_S):
            return
        memory_bytes = 0
        for pid in (self._pid, *descendants(self._pid)):
            with suppress(OSError, ValueError):
                self._busy[pid] = max(self._busy.get(pid, 0.0), busy_s(pid))
                memory_bytes += resident_bytes(pid)
                self._look_at_files(pid)
        self._memory_bytes = max(self._memory_bytes, memory_bytes)
        self._looks.append((now, sum(self._busy.values())))
        if training and self._training_since is None:
            self._training_since = len(self._looks) - 1

    @property
    def is_enough(self) -> bool:
        """Whether the training has been seen long enough."""
        since = self._training_since
        return since is not None and self._looks[-1][0] - self._looks[since][0] >= ENOUGH_S

    def usage(self) -> Usage | None:
        """What the training used: in the time of training if that was long enough, else since its start. None: not known."""
        since = self._training_since
        first = self._looks[since] if self.is_enough and since is not None else self._looks[0]
        (began, before), (ended, after) = first, self._looks[-1]
        if ended - began < SHORTEST_S or not self._saw_files:
            return None
        cores = max(0.0, after - before) / (ended - began)
        return Usage(round(cores, 2), self._memory_bytes, self._gpu, self._listens, self._writes)

    def _look_at_files(self, pid: int) -> None:
        sockets = set()
        files = list(open_files(pid))
        self._saw_files = True
        for number, place in files:
            if place.startswith(GPU_DEVICES):
                self._gpu = True
            elif place.startswith("socket:["):
                sockets.add(place[len("socket:[") : -1])
            elif self._is_shared(place) and not self._writes and is_open_for_writing(pid, number):
                self._writes = place
        self._listens = self._listens or bool(sockets and not sockets.isdisjoint(listening_sockets(pid)))

    def _is_shared(self, place: str) -> bool:
        return (
            place.startswith("/")
            and not place.startswith((*self._own, *SHARED_BY_DESIGN, "/memfd:"))
            and not place.endswith(" (deleted)")
        )


def busy_s(pid: int) -> float:
    """Seconds that a process has spent on processors, and its threads waiting for one. Raises OSError, ValueError."""
    text = Path(f"/proc/{pid}/stat").read_bytes()
    fields = text[text.rfind(b")") + 2 :].split()
    used = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    waited = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError, ValueError, IndexError):  # the thread has ended, or this kernel does not count
            waited += int((task / "schedstat").read_text().split()[1]) / _NS
    return used + waited


def resident_bytes(pid: int) -> int:
    """Memory of a process, with what it shares. Raises OSError, ValueError."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def open_files(pid: int) -> Iterator[tuple[str, str]]:
    """Yields (number, place) of the open files of a process. Raises OSError."""
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):  # noqa: PTH208
        with suppress(OSError):
            yield number, os.readlink(f"{folder}/{number}")  # noqa: PTH115 - "socket:[1]" is not a path


def is_open_for_writing(pid: int, number: str) -> bool:
    """Whether the process may write to this open file. Raises OSError, ValueError."""
    for line in Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return bool(int(value, 8) & os.O_ACCMODE)
    return False


def listening_sockets(pid: int) -> set[str]:
    """The numbers of all TCP sockets that accept connections in the network of a process."""
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if len(fields) > 9 and fields[3] == LISTENING:
                    found.add(fields[9])
    return found


def machine_room() -> Room:
    """What this process, and so a training, may use: processors by affinity and quota, memory by what is free and by the limit."""
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, _, period = Path("/sys/fs/cgroup/cpu.max").read_text().partition(" ")
        if quota != "max":
            cores = max(1, min(cores, int(quota) // int(period)))
    free = 0
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    with suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    return Room(cores, max(0, free))
