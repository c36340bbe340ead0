"""The open control streams of this replica, and the instructions that were last sent on each.

Instructions are level-triggered: they are repeated every REPEAT_S as long as the state requires them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from detctl_coordinator.domain.lifecycle_events import Assign, Instruction
from detctl_coordinator.domain.machine import Machine, Working

# Long enough for an agent to answer an assignment over a slow connection, short enough that a lost message does no harm.
REPEAT_S = 3.0
# An agent that does not read its messages gets no more of them; they are all sent again later.
OUTBOX_MAX = 1024


class Connection:
    """One control stream. outbox: instructions to send; None ends the stream."""

    def __init__(self, machine: Machine, monotonic: Callable[[], float]) -> None:
        self.machine = machine
        self.working: tuple[Working, ...] = ()
        self.outbox: asyncio.Queue[Any] = asyncio.Queue(OUTBOX_MAX)
        self._monotonic = monotonic
        self.received_s = monotonic()  # when its last message arrived
        self._sent: dict[tuple[str, str, int, int | None], float] = {}

    def note_message(self) -> None:
        """Records that a message has arrived."""
        self.received_s = self._monotonic()

    def silent_s(self) -> float:
        """Returns the seconds since the last message arrived."""
        return self._monotonic() - self.received_s

    def push(self, instructions: Iterable[Instruction]) -> None:
        """Sends the instructions that were not sent within REPEAT_S, and forgets those that are not repeated any more."""
        now = self._monotonic()
        sent: dict[tuple[str, str, int, int | None], float] = {}
        for instruction in instructions:
            key = _key(instruction)
            last = self._sent.get(key)
            if (last is None or now - last >= REPEAT_S) and not self.outbox.full():
                self.outbox.put_nowait(instruction)
                last = now
            if last is not None:
                sent[key] = last
        self._sent = sent

    def close(self) -> None:
        """Ends the stream from this side."""
        if self.outbox.full():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)


class Connections:
    """The current stream of each machine."""

    def __init__(self) -> None:
        self._by_machine: dict[str, Connection] = {}

    def add(self, connection: Connection) -> None:
        """Replaces and closes the machine's older stream, which is a dead connection or belongs to an agent that went silent."""
        older = self._by_machine.get(connection.machine.name)
        if older is not None:
            older.close()
        self._by_machine[connection.machine.name] = connection

    def get(self, machine: str) -> Connection | None:
        """Returns the current stream of a machine on this replica."""
        return self._by_machine.get(machine)

    def remove(self, connection: Connection) -> bool:
        """Removes a stream. Returns True if it was the machine's current stream."""
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
