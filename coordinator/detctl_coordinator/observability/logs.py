"""Limits repeated lines of the log, and writes lines for people. detctl_proto/log_lines.py defines the log format."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable

from detctl_proto.log_lines import clean_line

LIMITED_LINES = 10  # of one kind and caller
LIMITED_S = 60.0
KEYS_MAX = 1024


class LineLimiter:
    """Passes LIMITED_LINES lines of a key in LIMITED_S seconds, so that a caller who sends nonsense in a loop does not fill the disk."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[Hashable, list[float]] = {}  # key -> [start of its window, lines in it]

    def suffix(self, key: Hashable) -> str | None:
        """Returns what to append to the line, or None to drop it. The first line of a new window reports how many were dropped."""
        now = self._monotonic()
        begin, lines = self._seen.get(key, (now, 0))
        left_out = 0
        if now - begin >= LIMITED_S:
            left_out = max(0, int(lines) - LIMITED_LINES)
            begin, lines = now, 0
        if key not in self._seen and len(self._seen) >= KEYS_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = [begin, lines + 1]
        if lines >= LIMITED_LINES:
            return None
        if left_out:
            return f" ({left_out} similar lines were dropped)"
        return f" (similar lines are dropped for {LIMITED_S:.0f} s)" if lines + 1 == LIMITED_LINES else ""


def write_line(text: str) -> None:
    """Writes one line for people to stderr, outside the log."""
    sys.stderr.write(clean_line(text) + "\n")
    sys.stderr.flush()
