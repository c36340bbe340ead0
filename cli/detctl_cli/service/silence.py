"""A stream that says nothing for too long is as good as lost: its host may be stopped or cut off. And Ctrl-C never lands inside gRPC.

An exception that a signal handler raises inside gRPC's own waiting can leave its locks taken, and the next call then hangs (seen
under load). So a thread reads the stream, and the main thread waits on a queue, where an interrupt does no harm.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

SILENCE_S = 30.0  # the coordinator repeats itself every 5 s


def unless_silent(begin: Callable[[], Any], silence_s: float) -> Iterator[Any]:
    """Messages of the gRPC stream that `begin` opens; cancels it (RpcError CANCELLED) when none came for `silence_s` seconds, and
    at the end."""
    inbox: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
    calls: list[Any] = []

    def read() -> None:
        try:
            calls.append(begin())
            for message in calls[0]:
                inbox.put((message, None))
            inbox.put((None, None))
        except Exception as error:  # raised again where the messages are taken
            inbox.put((None, error))

    def cancel() -> None:
        for call in calls:
            call.cancel()

    threading.Thread(target=read, name="stream", daemon=True).start()
    try:
        while True:
            try:
                message, error = inbox.get(timeout=silence_s)
            except queue.Empty:
                cancel()  # the reader tells of it
                continue
            if error is not None:
                raise error
            if message is None:
                return
            yield message
    finally:
        cancel()
