"""A stream that says nothing for too long is as good as lost: its host may be stopped or cut off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

SILENCE_S = 30.0  # the coordinator repeats itself every 5 s


def unless_silent(call: Any, silence_s: float) -> Iterator[Any]:
    """Messages of a gRPC stream; cancels it (RpcError CANCELLED) when none came for `silence_s` seconds, and at the end."""
    heard, ended = threading.Event(), threading.Event()

    def watch() -> None:
        while heard.wait(silence_s):
            heard.clear()
            if ended.is_set():
                return
        call.cancel()

    watcher = threading.Thread(target=watch, name="silence", daemon=True)
    watcher.start()
    try:
        for message in call:
            heard.set()
            yield message
    finally:
        ended.set()
        heard.set()
        call.cancel()
