"""Logs: one line a fact, key=value, on stderr. Nothing from outside may break a line or steer a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Hashable

from detctl_proto.redaction import redact_text

from detctl_coordinator.limits import clean

LOG_LINE_CHARS_MAX = 4000
LIMITED_LINES = 10  # of one kind and caller
LIMITED_S = 60.0
KEYS_MAX = 1024


class LineFormatter(logging.Formatter):
    """Strips control characters from the message; a traceback keeps its lines, each cleaned."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record)} {record.levelname.lower()} {record.name.removeprefix('detctl_coordinator.')}"
        text = f"{head} {clean(redact_text(record.getMessage()), LOG_LINE_CHARS_MAX)}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            text += "".join(f"\n    {clean(redact_text(line), LOG_LINE_CHARS_MAX)}" for line in trace.splitlines())
        return text


class LineLimiter:
    """Lets LIMITED_LINES lines of a key through in LIMITED_S seconds: who sends nonsense in a loop fills no disk with it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[Hashable, list[float]] = {}  # key -> [begin of its window, lines in it]

    def suffix(self, key: Hashable) -> str | None:
        """What to append to the line; None: leave the line out. The first line of a new window says how many were left out."""
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
            return f" ({left_out} more like this were left out)"
        return f" (more like this are left out for {LIMITED_S:.0f} s)" if lines + 1 == LIMITED_LINES else ""


def set_up(level: str) -> None:
    """Sends all logs to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def write_line(text: str) -> None:
    """One line to people on stderr, outside the log."""
    sys.stderr.write(clean(redact_text(text), LOG_LINE_CHARS_MAX) + "\n")
    sys.stderr.flush()
