"""Decides which jobs train at the same time. It lives in the agent's event loop and does no I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Hashable
from dataclasses import dataclass

from detctl_proto.recordings.side_by_side import SideBySide


@dataclass(frozen=True)
class Place:
    """What counts for the place of a job. configuration: equal for runs that train alike. may_share: whether its owner allows other
    runs beside it as soon as one of its configuration has been measured."""

    configuration: Hashable
    may_share: bool


class Slots:
    """The places for jobs, given in the order in which they were requested.

    So many jobs train at a time as the owner allows (`parallel`). Beyond that, jobs that may share train side by side if a run of each
    configuration was measured and so many fit."""

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._waiting: deque[tuple[Place, asyncio.Future[None]]] = deque()
        self._taken: list[Place] = []
        self._measured: dict[Hashable, SideBySide] = {}

    @property
    def taken(self) -> int:
        """How many jobs train now."""
        return len(self._taken)

    async def take(self, place: Place) -> None:
        """Waits until the job may train. Whoever takes a place gives it back."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (place, turn)
        self._waiting.append(entry)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(place)
            elif entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
            raise

    def give_back(self, place: Place) -> None:
        """The job has ended."""
        self._taken.remove(place)
        self._admit()

    def measured(self, configuration: Hashable, found: SideBySide) -> None:
        """Notes how many runs of a configuration fit."""
        self._measured[configuration] = found
        self._admit()

    def decision(self, configuration: Hashable) -> SideBySide | None:
        """How many runs of a configuration fit; None: no run of it was measured."""
        return self._measured.get(configuration)

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            place, turn = self._waiting.popleft()
            if not turn.done():
                self._taken.append(place)
                turn.set_result(None)

    def _fits(self, place: Place) -> bool:
        if len(self._taken) < self._parallel:
            return True
        together = (*self._taken, place)
        return len(together) <= at_a_time([self._room(one) for one in together])

    def _room(self, place: Place) -> int:
        found = self._measured.get(place.configuration)
        return found.runs if place.may_share and found is not None else 1


def at_a_time(rooms: Collection[int]) -> int:
    """Returns how many runs fit, from how many of each of them would fit alone: the least of them."""
    return min(rooms, default=1)
