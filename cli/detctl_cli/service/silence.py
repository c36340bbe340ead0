"""Reads a stream in a thread. A stream that is silent for too long counts as lost, and Ctrl-C does not interrupt gRPC.

A silent host may be stopped or disconnected. An exception that a signal handler raises while gRPC waits can leave its locks
taken, so that the next call hangs (seen under load). So the main thread waits on a queue, where an interrupt does no harm.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

SILENCE_S = 30.0  # the coordinator repeats itself every 5 s


def unless_silent(begin: Callable[[], Any], silence_s: float) -> Iterator[Any]:
    """Yields the messages of the gRPC stream that `begin` opens.

    It cancels the stream (RpcError CANCELLED) if there is no message for `silence_s` seconds, and at the end.
    """
    inbox: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
    calls: list[Any] = []

    def read() -> None:
        try:
            calls.append(begin())
            for message in calls[0]:
                inbox.put((message, None))
            inbox.put((None, None))
        except Exception as error:  # raised again in the main thread
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
                cancel()  # the reading thread then puts the error into the queue
                continue
            if error is not None:
                raise error
            if message is None:
                return
            yield message
    finally:
        cancel()
