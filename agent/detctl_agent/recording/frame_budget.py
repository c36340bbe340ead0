"""Limits the memory and the connections of frames that are still arriving: one budget for this process, one for each training.

A frame may have 64 MiB, since a listing of two million names has 32, and a training may have thousands of processes. Both at once
would fill the memory. So a large frame is read only when there is room for all of it; until then its sender waits at the socket.
"""

from __future__ import annotations

import resource
import threading

CONNECTIONS_MAX = 2048  # of one training at a time; 16 ranks with 64 DataLoader workers each have 1,040
PROCESS_CONNECTIONS_MAX = 8192
DESCRIPTORS_KEPT = 256  # of this process, for all that is not a connection of a training
LARGE_BYTES = 64 * 1024  # a frame above this needs room of its own
TRAINING_BYTES_MAX = 128 * 1024 * 1024  # of large frames under way: two of the largest
PROCESS_BYTES_MAX = 512 * 1024 * 1024
STALLED_S = 30.0  # a frame that takes longer than this while another one waits for its room


class FrameBudget:
    """Room for large frames, and for connections; thread-safe, since each run has a thread. parent: the budget that this one is part of."""

    def __init__(self, bytes_max: int, connections_max: int, parent: FrameBudget | None = None) -> None:
        self.bytes_max, self.connections_max = bytes_max, connections_max
        self._parent = parent
        self._lock = threading.Lock()
        self._bytes = self._connections = self._waiting = 0

    def take(self, size: int) -> bool:
        """Whether there was room for `size` bytes, which are then taken."""
        with self._lock:
            if self._bytes + size > self.bytes_max:
                return False
            self._bytes += size
        if self._parent is None or self._parent.take(size):
            return True
        with self._lock:
            self._bytes -= size
        return False

    def give(self, size: int) -> None:
        """Gives back what was taken."""
        with self._lock:
            self._bytes -= size
        if self._parent is not None:
            self._parent.give(size)

    def connect(self) -> bool:
        """Whether one more connection may be held; then it counts until `disconnect`."""
        with self._lock:
            if self._connections >= self.connections_max:
                return False
            self._connections += 1
        if self._parent is None or self._parent.connect():
            return True
        with self._lock:
            self._connections -= 1
        return False

    def disconnect(self) -> None:
        with self._lock:
            self._connections -= 1
        if self._parent is not None:
            self._parent.disconnect()

    def wait(self, count: int) -> None:
        """`count` frames more (or fewer, below zero) wait for room."""
        with self._lock:
            self._waiting += count
        if self._parent is not None:
            self._parent.wait(count)

    @property
    def is_contended(self) -> bool:
        """Whether a frame of any training waits for room."""
        return self._waiting > 0 or (self._parent is not None and self._parent.is_contended)

    @property
    def taken(self) -> tuple[int, int]:
        """(bytes, connections) now."""
        return self._bytes, self._connections


def _connections_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = PROCESS_CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else soft - DESCRIPTORS_KEPT
    return max(64, min(PROCESS_CONNECTIONS_MAX, most))


# Of this process: all trainings of an agent.
PROCESS = FrameBudget(PROCESS_BYTES_MAX, _connections_max())


def training_budget() -> FrameBudget:
    """A new training's part of PROCESS."""
    return FrameBudget(TRAINING_BYTES_MAX, CONNECTIONS_MAX, PROCESS)
