"""The recorder's link to the agent. A link that is lost stays lost: nothing more is sent, above all no seal."""

from __future__ import annotations

from typing import Callable, Optional

from detctl_probe.process.signals import from_signal
from detctl_probe.process.stderr import log
from detctl_probe.transport import frames
from detctl_probe.transport.connection import Connection

SEAL_WAIT_S = 60.0


class Link:
    """The first frame opens the connection. lost: whether something failed; stop_after: the step after which the agent ends the run."""

    def __init__(self, address: str, hello: Callable[[], bytes], on_loss: Callable[[], None]) -> None:
        """hello() makes the connection's first frame; on_loss() is called once, when the link is lost."""
        self._address = address
        self._hello = hello
        self._on_loss = on_loss
        self._connection: Optional[Connection] = None
        self.lost = False
        self.stop_after: Optional[int] = None

    @property
    def open(self) -> bool:
        """Whether anything has been sent."""
        return self._connection is not None

    def send(self, data: bytes, now: bool = True) -> None:
        """Queues frames; with `now` also sends what the socket takes at once."""
        if self.lost:
            return
        if self._connection is None:
            self._connection = Connection(self._address, self._hello())
        self._connection.send(data, now=now)
        if self._connection.broken:
            self._lose()

    def receive(self) -> None:
        """Reads what the agent has sent meanwhile; never waits."""
        if self._connection is None:
            return
        for kind, payload in self._connection.poll():
            if kind == frames.STOP:
                self.stop_after = frames.unpack_stop(payload)
        if self._connection.broken:
            self._lose()

    def finish(self) -> None:
        """Waits until the agent has taken everything, then closes."""
        if self._connection is not None:
            self._connection.drain(SEAL_WAIT_S)
            self._connection.close()

    def fail(self, what: str, error: Exception) -> None:
        """The recorder could not do `what`: the link is lost, the training goes on. Raises `error` if a signal handler raised it."""
        if from_signal(error):
            raise error
        if not self.lost:
            self._lose()
            log(
                "recording stops and the training continues, because %s failed: %s: %s"
                % (what, type(error).__name__, error)
            )

    def leave_to_parent(self) -> None:
        """In a forked child: closes the inherited socket without sending what the parent has queued."""
        if self._connection is not None:
            self._connection.close()

    def give_up(self) -> None:
        """This process is not to send anything: its parent has lost its link, so the run is unverified already."""
        self._lose()

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            if self._connection is not None:
                self._connection.close()
            self._on_loss()
