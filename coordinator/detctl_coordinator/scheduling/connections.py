"""The control streams that this replica holds, and what was last said on each.

Instructions are level-triggered: they are repeated while the state wants them, not on every look at the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from detctl_coordinator.domain.lifecycle_events import Assign, Instruction
from detctl_coordinator.domain.machine import Machine, Working

# Long enough for an agent to answer an assignment over a slow line, short enough that a lost message is not noticed.
REPEAT_S = 3.0
# An agent that does not read what it is told gets no more of it; all of it is said again later.
OUTBOX_MAX = 1024


class Connection:
    """One control stream. `outbox`: instructions to send; None ends the stream."""

    def __init__(self, machine: Machine, monotonic: Callable[[], float]) -> None:
        self.machine = machine
        self.working: tuple[Working, ...] = ()
        self.outbox: asyncio.Queue[Any] = asyncio.Queue(OUTBOX_MAX)
        self._monotonic = monotonic
        self.heard_s = monotonic()  # when it last said anything
        self._said: dict[tuple[str, str, int, int | None], float] = {}

    def heard(self) -> None:
        """A message arrived on it."""
        self.heard_s = self._monotonic()

    def silent_s(self) -> float:
        """Seconds since it last said anything."""
        return self._monotonic() - self.heard_s

    def push(self, instructions: Iterable[Instruction]) -> None:
        """Sends those that were not said a moment ago; forgets those that are not wanted any more."""
        now = self._monotonic()
        said: dict[tuple[str, str, int, int | None], float] = {}
        for instruction in instructions:
            key = _key(instruction)
            last = self._said.get(key)
            if (last is None or now - last >= REPEAT_S) and not self.outbox.full():
                self.outbox.put_nowait(instruction)
                last = now
            if last is not None:
                said[key] = last
        self._said = said

    def close(self) -> None:
        """Ends the stream from this side."""
        if self.outbox.full():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)


class Connections:
    """By machine; a newer stream of the same machine replaces the older."""

    def __init__(self) -> None:
        self._by_machine: dict[str, Connection] = {}

    def add(self, connection: Connection) -> None:
        """The newest stream wins: the older one is a half-dead line of the same agent, or of one that went silent."""
        older = self._by_machine.get(connection.machine.name)
        if older is not None:
            older.close()
        self._by_machine[connection.machine.name] = connection

    def get(self, machine: str) -> Connection | None:
        """The current stream of a machine on this replica."""
        return self._by_machine.get(machine)

    def remove(self, connection: Connection) -> bool:
        """True where it was the machine's current stream."""
        if self._by_machine.get(connection.machine.name) is not connection:
            return False
        del self._by_machine[connection.machine.name]
        return True

    def close(self) -> None:
        """Ends all streams."""
        for connection in self._by_machine.values():
            connection.close()

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_machine.values()))


def _key(instruction: Instruction) -> tuple[str, str, int, int | None]:
    if isinstance(instruction, Assign):
        return ("assign", instruction.spec.run_id, instruction.attempt, None)
    return ("stop", instruction.run_id, instruction.attempt, instruction.after_step)
