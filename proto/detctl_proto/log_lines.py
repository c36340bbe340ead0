"""The log format of coordinator and agent: `time level part text` on stderr, one line per record, without credentials.

Text from elsewhere can neither break a line nor control a terminal.
"""

from __future__ import annotations

import logging
import sys

from detctl_proto.security.redaction import redact_text
from detctl_proto.syntax.clean_text import clean_text

LINE_CHARACTERS_MAX = 4000


class LineFormatter(logging.Formatter):
    """Redacts and cleans the message. A traceback keeps its lines, each cleaned and indented."""

    def format(self, record: logging.LogRecord) -> str:
        part = record.name.partition(".")[2] if record.name.startswith("detctl_") else record.name
        head = " ".join(filter(None, (self.formatTime(record), record.levelname.lower(), part)))
        trace = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        return "\n    ".join([f"{head} {clean_line(record.getMessage())}", *map(clean_line, trace)])


def clean_line(text: str) -> str:
    """Returns the text as one line without credentials and control characters, cut to a length."""
    return clean_text(redact_text(text), LINE_CHARACTERS_MAX).strip()


def log_to_stderr(level: str, name: str | None = None) -> None:
    """Sends the records of the logger `name` (None: the root logger) to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger(name)
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
