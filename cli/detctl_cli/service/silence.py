"""A stream that says nothing for too long is as good as lost: its host may be stopped or cut off. And Ctrl-C never lands inside gRPC.

An exception that a signal handler raises inside gRPC's own waiting can leave its locks taken, and the next call then hangs (seen
under load). So a thread reads the stream, and the main thread waits on a queue, where an interrupt does no harm.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

SILENCE_S = 30.0  # the coordinator repeats itself every 5 s


def unless_silent(call: Any, silence_s: float) -> Iterator[Any]:
    """Messages of a gRPC stream; cancels it (RpcError CANCELLED) when none came for `silence_s` seconds, and at the end."""
    inbox: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def read() -> None:
        try:
            for message in call:
                inbox.put((message, None))
            inbox.put((None, None))
        except Exception as error:  # raised again where the messages are taken
            inbox.put((None, error))

    threading.Thread(target=read, name="stream", daemon=True).start()
    try:
        while True:
            try:
                message, error = inbox.get(timeout=silence_s)
            except queue.Empty:
                call.cancel()  # the reader tells of it
                continue
            if error is not None:
                raise error
            if message is None:
                return
            yield message
    finally:
        call.cancel()
