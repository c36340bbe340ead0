"""Logs: one line a fact, key=value, on stderr. Nothing from outside may break a line or steer a terminal."""

from __future__ import annotations

import logging
import sys

from detctl_proto.redaction import redact_text

from detctl_coordinator.limits import clean

LOG_LINE_CHARS_MAX = 4000


class LineFormatter(logging.Formatter):
    """Strips control characters from the message; a traceback keeps its lines, each cleaned."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record)} {record.levelname.lower()} {record.name.removeprefix('detctl_coordinator.')}"
        text = f"{head} {clean(redact_text(record.getMessage()), LOG_LINE_CHARS_MAX)}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            text += "".join(f"\n    {clean(redact_text(line), LOG_LINE_CHARS_MAX)}" for line in trace.splitlines())
        return text


def set_up(level: str) -> None:
    """Sends all logs to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def say(text: str) -> None:
    """One line to people on stderr, outside the log."""
    sys.stderr.write(clean(redact_text(text), LOG_LINE_CHARS_MAX) + "\n")
    sys.stderr.flush()
