"""Limits how many bytes of callers' data are in memory, in the whole process and for each caller. Callers beyond the limit wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from detctl_coordinator.errors.codes import Code, RefusedCallError


class Share:
    """The bytes that a caller holds. `shrink_to` and `release` return them; a second release does nothing."""

    def __init__(self, budget: ByteBudget, caller: str, count: int) -> None:
        self._budget, self._caller, self.count = budget, caller, count

    def shrink_to(self, count: int) -> None:
        """Keeps `count` bytes and returns the rest."""
        spare = self.count - min(count, self.count)
        self.count -= spare
        self._budget._return(self._caller, spare)

    def release(self) -> None:
        self.shrink_to(0)


class ByteBudget:
    """Grants bytes to callers. each: the most that one caller may hold. Waiting callers take turns; requests of one caller keep
    their order."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = min(each, total)
        self._used = 0
        self._used_by: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}

    async def take(self, caller: str, count: int, *, arrived: bool = False) -> Share:
        """Waits until `count` bytes are free and returns them as a Share. A count above the caller's limit is cut to the limit.

        arrived: the bytes are already in memory while the call waits. The caller may then have at most its limit waiting; more raises
        RefusedCallError."""
        count = min(count, self._each)
        queue = self._waiting.setdefault(caller, deque())
        waiting = sum(waits for waits, _ in queue)
        if arrived and queue and waiting + count > self._each:
            raise RefusedCallError(
                Code.RESOURCE_EXHAUSTED,
                f"{caller} has {self._used_by.get(caller, 0) >> 20} MiB being processed and {waiting >> 20} MiB waiting; the limit of "
                f"each is {self._each >> 20} MiB: send fewer messages at once",
            )
        granted = asyncio.get_running_loop().create_future()
        queue.append((count, granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._return(caller, count)  # granted and cancelled in the same turn of the loop
            raise
        return Share(self, caller, count)

    @asynccontextmanager
    async def holding(self, caller: str, count: int, *, arrived: bool = False) -> AsyncIterator[Share]:
        """Holds the bytes while the block runs. See `take`."""
        share = await self.take(caller, count, arrived=arrived)
        try:
            yield share
        finally:
            share.release()

    def _return(self, caller: str, count: int) -> None:
        if not count:
            return
        self._used -= count
        self._used_by[caller] -= count
        if not self._used_by[caller]:
            del self._used_by[caller]
        self._grant()

    def _grant(self) -> None:
        """Grants what fits, one request of each caller per round."""
        served = True
        while served:
            served = False
            for caller, queue in list(self._waiting.items()):
                while queue and queue[0][1].done():
                    queue.popleft()  # its call was cancelled
                if not queue:
                    del self._waiting[caller]
                    continue
                count, granted = queue[0]
                used = self._used_by.get(caller, 0)
                if self._used + count > self._total or used + count > self._each:
                    continue
                queue.popleft()
                self._used += count
                self._used_by[caller] = used + count
                granted.set_result(None)
                # The caller goes to the end of the queue.
                self._waiting[caller] = self._waiting.pop(caller)
                served = True
