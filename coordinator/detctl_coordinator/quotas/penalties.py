"""Delays the next large message of a caller who sent one beyond the limits: refusing a message costs us more than sending it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PENALTY_S = 1.0  # for each refused message


class Penalties:
    """The penalties of each caller; other callers are not delayed."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._until: dict[str, float] = {}

    def add(self, caller: str) -> None:
        """Adds one penalty after those that the caller already has."""
        self._until[caller] = max(self._until.get(caller, 0.0), self._monotonic()) + PENALTY_S

    async def wait(self, caller: str) -> None:
        """Returns when the caller's penalties are over."""
        while (rest := self._until.get(caller, 0.0) - self._monotonic()) > 0:
            await self._sleep(rest)
        self._until.pop(caller, None)
