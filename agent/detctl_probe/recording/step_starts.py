"""Callbacks that run at the start of each step."""

from __future__ import annotations

from typing import Callable, List

from detctl_probe.process.signals import from_signal


class StepStarts:
    """The callbacks of one process, in the order in which they were added."""

    def __init__(self, on_failure: Callable[[str, Exception], None]) -> None:
        """on_failure(module, error) is called if a callback raises; the others still run."""
        self._callbacks: List[Callable[[], None]] = []
        self._on_failure = on_failure

    def add(self, callback: Callable[[], None]) -> None:
        """callback() runs at each start from now on."""
        self._callbacks.append(callback)

    def run(self) -> None:
        """A step starts now."""
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception as error:
                if from_signal(error):
                    raise
                self._on_failure(getattr(callback, "__module__", "?"), error)
