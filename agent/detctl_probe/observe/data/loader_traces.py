"""Removes the probe's lines from exceptions that pass through it."""

from __future__ import annotations

from types import TracebackType
from typing import Optional, Set

from detctl_probe.process.paths import PROBE_FOLDER


def prune(error: Optional[BaseException]) -> None:
    """Removes the probe's frames from the traceback of an exception and of those that it came from, the first frame included."""
    met: Set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        error.__traceback__ = _without_ours(error.__traceback__)
        error = error.__cause__ or error.__context__


def _without_ours(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    first: Optional[TracebackType] = None
    last: Optional[TracebackType] = None
    while trace is not None:
        following = trace.tb_next
        if not trace.tb_frame.f_code.co_filename.startswith(PROBE_FOLDER):
            if last is None:
                first = trace
            elif last.tb_next is not trace:
                last.tb_next = trace
            last = trace
        trace = following
    if last is not None:
        last.tb_next = None
    return first
