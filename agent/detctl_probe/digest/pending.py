"""Digests that a device still computes: a Fingerprint may hold a Pending in place of its 16 bytes until the step's results have come.

Observers submit values. The recorder calls `mark` at the end of a step, and writes the step's records once their digests are `known`. Only
`wait`, at the end of a run, waits for the device.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, List, Optional, Tuple

_LANES = struct.Struct("<qq")


class Batch:
    """The results of one marked span of one device: `ready()` asks without waiting, `fetch()` waits; gives lanes by slot."""

    __slots__ = ("_fetch", "_lanes", "_ready")

    def __init__(self) -> None:
        self._ready: Optional[Callable[[], bool]] = None
        self._fetch: Optional[Callable[[], List[Tuple[int, int]]]] = None
        self._lanes: Optional[List[Tuple[int, int]]] = None

    def marked(self, ready: Callable[[], bool], fetch: Callable[[], List[Tuple[int, int]]]) -> None:
        """The device has begun to send the results."""
        self._ready, self._fetch = ready, fetch

    @property
    def known(self) -> bool:
        """Whether the results are here, without waiting."""
        if self._lanes is None and self._ready is not None and self._ready():
            self.wait()
        return self._lanes is not None

    def wait(self) -> None:
        """Waits for the device. Raises RuntimeError if the batch was never marked."""
        if self._lanes is None:
            if self._fetch is None:
                raise RuntimeError("the results were never requested")
            self._lanes, self._fetch = self._fetch(), None

    def digest(self, slot: int) -> bytes:
        """16 bytes of a slot, once known."""
        if self._lanes is None:
            raise RuntimeError("the results have not arrived yet")
        return _LANES.pack(*self._lanes[slot])


class Pending:
    """A digest that a device still computes, or the result of `make` for a copy of the value on the host."""

    __slots__ = ("_make", "batch", "slot")

    def __init__(self, batch: Batch, slot: int, make: Optional[Callable[[], Any]] = None) -> None:
        self.batch = batch
        self.slot = slot
        self._make = make

    def value(self) -> Any:
        """16 bytes, or the result of `make`; once the batch is known."""
        return self.batch.digest(self.slot) if self._make is None else self._make()


# What has been submitted to and not been marked yet, by device.
OPEN: Dict[Any, Callable[[], None]] = {}


def mark() -> None:
    """The step has ended: requests the results of each device, without waiting."""
    for close in list(OPEN.values()):  # each takes itself out
        close()
