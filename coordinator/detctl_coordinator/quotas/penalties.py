"""Who sends a message beyond the limits waits with the next large one: else a loop of them costs us more than its sender."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PENALTY_S = 1.0  # for each


class Penalties:
    """By caller, who alone is held up."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._until: dict[str, float] = {}

    def add(self, caller: str) -> None:
        """One more, behind those that it has."""
        self._until[caller] = max(self._until.get(caller, 0.0), self._monotonic()) + PENALTY_S

    async def sit_out(self, caller: str) -> None:
        """Returns when the caller has none any more."""
        while (rest := self._until.get(caller, 0.0) - self._monotonic()) > 0:
            await self._sleep(rest)
        self._until.pop(caller, None)
