"""Listens on a run's Unix socket and turns what processes send into calls of Ranks. Runs inside the run's own thread:
while it writes the spool it does not read, so a full socket slows the probe down and memory here stays bounded.

A large frame that frame_budget.py has no room for waits in the same way. A process that has room, and does not finish its frame
while others wait, is disconnected, and the run is not complete.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from detctl_probe.transport.frames import FrameReader, ProtocolError, stop_frame

from detctl_agent import logs
from detctl_agent.launcher.account import Account
from detctl_agent.recording.frame_budget import LARGE_BYTES, STALLED_S, FrameBudget, training_budget
from detctl_agent.recording.process import Process
from detctl_agent.recording.ranks import Message, Ranks
from detctl_agent.recording.records import JSON_BYTES_MAX

RECEIVE_BYTES = 256 * 1024  # of one process; many share RECEIVED_BYTES, but for RECEIVE_BYTES_MIN each
RECEIVE_BYTES_MIN = 16 * 1024
RECEIVED_BYTES = 16 * 1024 * 1024
WARNINGS_MAX = 20  # a run
_CREDENTIALS = struct.Struct("3i")
log = logs.logger("frames")


@dataclass
class _Connection:
    """One process. taken: bytes of the budget that the arriving frame has; since: when it got them. waits: it is not read until
    there is room."""

    process: Process
    reader: FrameReader = field(default_factory=FrameReader)
    taken: int = 0
    since: float = 0.0
    waits: bool = False


class FrameServer:
    """One socket, many processes. `sink` receives the messages for the spool, in order. account: another user who may connect."""

    def __init__(
        self,
        path: Path,
        selector: selectors.BaseSelector,
        ranks: Ranks,
        sink: Callable[[list[Message]], None],
        budget: FrameBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        account: Account | None = None,
    ) -> None:
        self._budget, self._clock = budget or training_budget(), clock
        self._waiting: deque[socket.socket] = deque()
        self._uids = {os.getuid(), account.uid} if account else {os.getuid()}
        self._selector, self._ranks, self._sink = selector, ranks, sink
        self._connections: dict[socket.socket, _Connection] = {}
        self._stop_step: int | None = None
        self._warned = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        if account:
            os.chown(path, account.uid, account.gid)
        self._listener.listen(128)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def connections(self) -> int:
        """Processes that are connected now."""
        return len(self._connections)

    def stop_after(self, step: int) -> None:
        """Asks every process, including later ones, to finish `step`, seal and record no more."""
        self._stop_step = step
        for connection in list(self._connections):
            self._send_stop(connection)

    def tick(self) -> None:
        """Called regularly: gives waiting frames their room, and disconnects processes that keep room without using it."""
        for connection, held in list(self._connections.items()):
            if held.taken and self._budget.is_contended and self._clock() - held.since > STALLED_S:
                self._refuse(connection, f"a frame of {held.taken} bytes, but not within {STALLED_S:g} s")
        while self._waiting:
            connection = self._waiting[0]
            if not self._has_room(connection):
                return
            self._waiting.popleft()
            self._budget.wait(-1)
            self._connections[connection].waits = False
            self._selector.register(connection, selectors.EVENT_READ, partial(self._read, connection))

    def drain(self) -> None:
        """Reads what is still in the sockets, then closes them all; called when no process of the training is left."""
        self._accept()
        # Connections that have room come first, because they return it to the others.
        for connection in sorted(self._connections, key=lambda one: not self._connections[one].taken):
            while connection in self._connections:
                held = self._connections[connection]
                if held.waits:
                    self.tick()
                    if held.waits:
                        self._refuse(connection, "a frame that the agent had no room for")
                        break
                if not self._read(connection):
                    break
            self._close(connection, "")
        self.close()

    def close(self) -> None:
        """Closes the listener and all connections without notifying Ranks."""
        for connection in list(self._connections):
            self._let_go(connection)
        try:
            self._selector.unregister(self._listener)
        except (KeyError, ValueError):
            pass
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, OSError):
                return  # also where this process has no descriptor left: the connection waits in the listener
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(credentials)[1] not in self._uids:
                connection.close()
                continue
            connection.setblocking(False)
            try:
                if not self._budget.connect():
                    raise ProtocolError(f"more than {self._budget.connections_max} processes at a time")
                try:
                    process = self._ranks.connect()
                except ProtocolError:
                    self._budget.disconnect()
                    raise
            except ProtocolError as error:
                self._warn("connection_refused", why=str(error))
                self._ranks.lose(f"a process of the training was refused: {error}")
                connection.close()
                continue
            self._connections[connection] = _Connection(process)
            self._selector.register(connection, selectors.EVENT_READ, partial(self._read, connection))
            if self._stop_step is not None:
                self._send_stop(connection)

    def _read(self, connection: socket.socket) -> bool:
        """Reads once; False if nothing is there now or the connection is over."""
        held = self._connections[connection]
        share = RECEIVED_BYTES // len(self._connections)
        try:
            data = connection.recv(max(RECEIVE_BYTES_MIN, min(RECEIVE_BYTES, share)))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._close(connection, f"connection broke: {error.strerror}")
            return False
        if not data:
            self._close(connection, "a frame was cut off" if held.reader.left else "")
            return False
        try:
            for kind, payload in held.reader.feed(data):
                self._give_back(held)
                self._sink(self._ranks.frame(held.process, kind, payload))
            if held.reader.expected > JSON_BYTES_MAX and not held.process.hello:
                raise ProtocolError(f"a frame of {held.reader.expected} bytes before the HELLO")
        except ProtocolError as error:
            self._refuse(connection, str(error))
            return False
        if not self._has_room(connection):
            held.waits = True
            self._selector.unregister(connection)
            self._waiting.append(connection)
            self._budget.wait(1)
        return True

    def _has_room(self, connection: socket.socket) -> bool:
        """Whether the next frame may arrive; if it is large, its room is then taken."""
        held = self._connections[connection]
        size = held.reader.expected
        if size <= LARGE_BYTES or held.taken:
            return True
        if not self._budget.take(size):
            return False
        held.taken, held.since = size, self._clock()
        return True

    def _give_back(self, held: _Connection) -> None:
        if held.taken:
            self._budget.give(held.taken)
            held.taken = 0

    def _refuse(self, connection: socket.socket, why: str) -> None:
        """Disconnects a process that breaks the protocol; the run cannot be complete."""
        process = self._connections[connection].process
        self._warn("bad_frame", pid=process.pid, why=why)
        if process.rank is None:  # its rank is unknown
            self._ranks.lose(f"a process of the training sent {why}")
        self._close(connection, f"the process sent {why}")

    def _warn(self, event: str, **values: object) -> None:
        """Logs a line, but only the first ones if thousands of processes misbehave."""
        self._warned += 1
        if self._warned <= WARNINGS_MAX:
            log.warning(logs.line(event, **values))
        elif self._warned == WARNINGS_MAX + 1:
            log.warning(logs.line("more_of_the_kind", why="not logged for this run"))

    def _close(self, connection: socket.socket, trouble: str) -> None:
        if connection in self._connections:
            process = self._let_go(connection)
            self._sink(self._ranks.disconnect(process, trouble))

    def _let_go(self, connection: socket.socket) -> Process:
        """Closes the connection and returns its part of the budget."""
        held = self._connections.pop(connection)
        self._give_back(held)
        self._budget.disconnect()
        if held.waits:
            self._waiting.remove(connection)
            self._budget.wait(-1)
        else:
            self._selector.unregister(connection)
        connection.close()
        return held.process

    def _send_stop(self, connection: socket.socket) -> None:
        assert self._stop_step is not None
        try:
            connection.send(stop_frame(self._stop_step))
        except OSError:
            pass  # the process is going away, or does not read: the window or the time limit ends it
