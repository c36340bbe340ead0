"""Exceptions that signal handlers raise in the middle of the probe's work: they belong to the training and are never swallowed."""

from __future__ import annotations

import signal


def from_signal(error: BaseException) -> bool:
    """Whether a signal handler raised this (as torch's SIGCHLD handler does for a dead DataLoader worker)."""
    trace = error.__traceback__
    if trace is None:
        return False
    handlers = set()
    for number in signal.Signals:
        code = getattr(signal.getsignal(number), "__code__", None)
        if code is not None:
            handlers.add(code)
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False
