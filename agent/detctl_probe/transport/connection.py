"""The socket of one process: frames go out without blocking the training, STOP frames come in at step ends.

Back-pressure: what the reader does not take waits here, up to BUFFER_BYTES_MAX; then the training waits BACK_PRESSURE_S
once. If that does not help, everything is dropped and the process sends nothing more. No seal arrives, so the run is
unverified and never wrong.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import List, Optional, Tuple

from detctl_probe.process.stderr import log
from detctl_probe.transport.frames import FrameReader

BUFFER_BYTES_MAX = 32 << 20
BACK_PRESSURE_S = 10.0
CONNECT_S = 10.0
_CHUNK = 1 << 18


class Connection:
    """The first send opens the socket. After a failure `broken` holds the reason, and every call does nothing."""

    def __init__(self, path: str, hello: bytes) -> None:
        self._path = path
        self._socket: Optional[socket.socket] = None
        self._pending = bytearray(hello)
        self._reader = FrameReader(frame_bytes_max=1 << 16)
        self._identity: Optional[Tuple[int, int]] = None
        self.broken: Optional[str] = None
        self.closed = False

    def send(self, data: bytes, now: bool = True) -> None:
        """Queues; with `now` also sends what the socket takes at once."""
        if self.broken or self.closed:
            return
        self._pending += data
        if not now and len(self._pending) < BUFFER_BYTES_MAX:
            return
        self._write(wait_s=0.0)
        if len(self._pending) > BUFFER_BYTES_MAX:
            self._write(wait_s=BACK_PRESSURE_S, until_bytes=BUFFER_BYTES_MAX // 2)
            if len(self._pending) > BUFFER_BYTES_MAX:
                self._break("the reader of %s takes nothing more" % self._path)

    def drain(self, wait_s: float) -> bool:
        """Sends everything that waits; returns False if it could not within `wait_s`."""
        if not self.broken and not self.closed:
            self._write(wait_s=wait_s)
            if self._pending:
                self._break("the reader of %s did not take the last %d bytes" % (self._path, len(self._pending)))
        return self.broken is None

    def poll(self) -> List[Tuple[int, bytes]]:
        """Returns the frames that came in; never waits."""
        frames: List[Tuple[int, bytes]] = []
        while self._socket is not None and not self.broken:
            try:
                if not self._ours():
                    break
                if not _ready(self._socket, select.POLLIN, 0.0):
                    break
                data = self._socket.recv(4096)
                if not data:
                    self._break("the reader of %s closed the connection" % self._path)
                    break
                frames.extend(self._reader.feed(data))
            except (BlockingIOError, InterruptedError):
                break
            except (OSError, ValueError) as error:
                self._break(str(error))
        return frames

    def close(self) -> None:
        """Closes without waiting; what is pending is lost."""
        self.closed = True
        self._pending = bytearray()
        if self._socket is not None:
            try:
                self._socket.close()
            except OSError:
                pass
            self._socket = None

    def _write(self, wait_s: float, until_bytes: int = 0) -> None:
        deadline = time.monotonic() + wait_s
        try:
            if self._socket is None:
                self._socket = self._connect()
                self._identity = _identity(self._socket)
            if not self._ours():
                return
            while len(self._pending) > until_bytes:
                try:
                    # MSG_NOSIGNAL: the user may have given SIGPIPE back its deadly default.
                    sent = self._socket.send(bytes(self._pending[:_CHUNK]), socket.MSG_NOSIGNAL)
                    del self._pending[:sent]
                except (BlockingIOError, InterruptedError):
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        return
                    _ready(self._socket, select.POLLOUT, left_s)
        except (OSError, ValueError) as error:
            self._break("%s: %s" % (self._path, error))

    def _ours(self) -> bool:
        """Whether the socket is still the probe's: a program that closes all descriptors may have reused the number for its own file."""
        if self._socket is not None and _identity(self._socket) != self._identity:
            self._socket.detach()
            self._socket = None
            self._break("the program closed the probe's socket")
        return self.broken is None

    def _connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(CONNECT_S)
            made.connect(self._path)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made

    def _break(self, why: str) -> None:
        self.broken = why
        self.close()
        log("recording stops and the training continues: %s" % why)


def _identity(made: socket.socket) -> Optional[Tuple[int, int]]:
    try:
        status = os.fstat(made.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _ready(made: socket.socket, event: int, wait_s: float) -> bool:
    # poll, not select: a training may hold more than 1,024 descriptors.
    poller = select.poll()
    poller.register(made, event)
    return bool(poller.poll(wait_s * 1000.0))
