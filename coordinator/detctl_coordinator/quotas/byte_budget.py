"""How many bytes of callers' data may be in flight: in the whole process, and for each caller. Who comes too much waits its turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from detctl_coordinator.errors.codes import Code, RefusedCallError


class Share:
    """Bytes that a caller holds; `shrink_to` and `release` give them back. Giving back twice does nothing."""

    def __init__(self, budget: ByteBudget, caller: str, count: int) -> None:
        self._budget, self._caller, self.count = budget, caller, count

    def shrink_to(self, count: int) -> None:
        """Keeps `count` bytes of what it has."""
        spare = self.count - min(count, self.count)
        self.count -= spare
        self._budget._give_back(self._caller, spare)

    def release(self) -> None:
        self.shrink_to(0)


class ByteBudget:
    """`each`: of one caller, who leaves the rest to others. Those who wait are served in turn, a caller's own in their order."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = min(each, total)
        self._used = 0
        self._used_by: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}

    async def take(self, caller: str, count: int, *, arrived: bool = False) -> Share:
        """Waits until there is room; what is more than a caller may ever have counts as all that it may have.

        arrived: the bytes are here already and take memory while they wait, so as much again may wait as the caller may have, and
        what is beyond raises RefusedCallError."""
        count = min(count, self._each)
        queue = self._waiting.setdefault(caller, deque())
        waiting = sum(waits for waits, _ in queue)
        if arrived and queue and waiting + count > self._each:
            raise RefusedCallError(
                Code.RESOURCE_EXHAUSTED,
                f"{caller} has {self._used_by.get(caller, 0) >> 20} MiB under way and {waiting >> 20} MiB waiting; the limit is "
                f"{self._each >> 20} MiB of each: send fewer messages at once",
            )
        granted = asyncio.get_running_loop().create_future()
        queue.append((count, granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._give_back(caller, count)  # granted and cancelled in the same turn of the loop
            raise
        return Share(self, caller, count)

    @asynccontextmanager
    async def holding(self, caller: str, count: int, *, arrived: bool = False) -> AsyncIterator[Share]:
        """Holds the bytes for the block. See `take`."""
        share = await self.take(caller, count, arrived=arrived)
        try:
            yield share
        finally:
            share.release()

    def _give_back(self, caller: str, count: int) -> None:
        if not count:
            return
        self._used -= count
        self._used_by[caller] -= count
        if not self._used_by[caller]:
            del self._used_by[caller]
        self._grant()

    def _grant(self) -> None:
        """Goes round the callers once for each that could be served."""
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
                # Behind the others, the next time.
                self._waiting[caller] = self._waiting.pop(caller)
                served = True
