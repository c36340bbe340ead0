"""Log lines of the agent: one line per event with `key=value` fields. detctl_proto/log_lines.py defines the log format."""

from __future__ import annotations

import logging
import re
from typing import Any

from detctl_proto.log_lines import log_to_stderr
from detctl_proto.security.redaction import redact_text

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+,{}\[\]()%=-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
VALUE_CHARACTERS_MAX = 2000


def logger(name: str = "") -> logging.Logger:
    """Returns the logger of a module of the agent."""
    return logging.getLogger(f"detctl_agent.{name}" if name else "detctl_agent")


def line(event: str, **fields: Any) -> str:
    """Returns `event key=value …`. Values with blanks are quoted; line breaks and control characters become `?`."""
    parts = [event]
    for key, value in fields.items():
        if value is None or value == "":
            continue
        text = redact_text(f"{value:.3f}" if isinstance(value, float) else str(value))
        text = _CONTROL.sub("?", text)[:VALUE_CHARACTERS_MAX]
        parts.append(f"{key}={text}" if _PLAIN.match(text) else f'{key}="{text.replace(chr(34), chr(39))}"')
    return " ".join(parts)


def setup(level: str) -> None:
    """Sends log lines to stderr."""
    log_to_stderr(level, "detctl_agent")
