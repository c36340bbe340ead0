"""Listens on a run's Unix socket and turns what processes send into calls of Ranks. Runs inside the run's own thread:
while the spool is written nobody reads, so a full socket holds the probe back instead of memory filling up here."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from detctl_agent import logs
from detctl_agent.ranks import Message, Process, Ranks
from detctl_agent.records import FrameBuffer, ProtocolError, stop_frame

RECEIVE_BYTES = 256 * 1024
_CREDENTIALS = struct.Struct("3i")
log = logs.logger("frames")


class FrameServer:
    """One socket, many processes. `sink` takes the messages for the spool, in order."""

    def __init__(
        self, path: Path, selector: selectors.BaseSelector, ranks: Ranks, sink: Callable[[list[Message]], None]
    ) -> None:
        self._selector, self._ranks, self._sink = selector, ranks, sink
        self._connections: dict[socket.socket, tuple[Process, FrameBuffer]] = {}
        self._stop_step: int | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(128)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def connections(self) -> int:
        """Processes that are connected now."""
        return len(self._connections)

    def stop_after(self, step: int) -> None:
        """Tells every process, also those to come, to finish `step`, seal and record no more."""
        self._stop_step = step
        for connection in list(self._connections):
            self._send_stop(connection)

    def drain(self) -> None:
        """Takes what is still in the sockets of processes that are gone, then closes all; called when the tree is gone."""
        self._accept()
        for connection in list(self._connections):
            while connection in self._connections and self._read(connection):
                pass
            self._close(connection, "")
        self.close()

    def close(self) -> None:
        """Closes the listener and all connections without a word to Ranks."""
        for connection in [self._listener, *self._connections]:
            try:
                self._selector.unregister(connection)
            except (KeyError, ValueError):
                pass
            connection.close()
        self._connections.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, OSError):
                return
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(credentials)[1] != os.getuid():
                connection.close()
                continue
            connection.setblocking(False)
            try:
                process = self._ranks.connect()
            except ProtocolError as error:
                log.warning(logs.line("connection_refused", why=str(error)))
                connection.close()
                continue
            self._connections[connection] = (process, FrameBuffer())
            self._selector.register(connection, selectors.EVENT_READ, partial(self._read, connection))
            if self._stop_step is not None:
                self._send_stop(connection)

    def _read(self, connection: socket.socket) -> bool:
        """Takes one piece; False where there is none now or the connection is over."""
        process, buffer = self._connections[connection]
        try:
            data = connection.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._close(connection, f"connection broke: {error.strerror}")
            return False
        if not data:
            self._close(connection, "a frame was cut off" if buffer.rest else "")
            return False
        try:
            for kind, payload in buffer.feed(data):
                self._sink(self._ranks.frame(process, kind, payload))
        except ProtocolError as error:
            log.warning(logs.line("bad_frame", pid=process.pid, why=str(error)))
            self._close(connection, f"the process sent {error}")
            return False
        return True

    def _close(self, connection: socket.socket, trouble: str) -> None:
        held = self._connections.pop(connection, None)
        if held is None:
            return
        self._selector.unregister(connection)
        connection.close()
        self._sink(self._ranks.disconnect(held[0], trouble))

    def _send_stop(self, connection: socket.socket) -> None:
        assert self._stop_step is not None
        try:
            connection.send(stop_frame(self._stop_step))
        except OSError:
            pass  # the process is going away, or does not read: the window or the time limit ends it
