"""Log lines: one line an event, `key=value`, never a credential and never a control character."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from detctl_proto.redaction import redact_text

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+,{}\[\]()%=-]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
VALUE_CHARACTERS_MAX = 2000


def logger(name: str = "") -> logging.Logger:
    """The logger of a part of the agent."""
    return logging.getLogger(f"detctl_agent.{name}" if name else "detctl_agent")


def line(event: str, **fields: Any) -> str:
    """`event key=value …`; values with blanks are quoted, line breaks and control characters become `?`."""
    parts = [event]
    for key, value in fields.items():
        if value is None or value == "":
            continue
        text = redact_text(f"{value:.3f}" if isinstance(value, float) else str(value))
        text = _CONTROL.sub("?", text)[:VALUE_CHARACTERS_MAX]
        parts.append(f"{key}={text}" if _PLAIN.match(text) else f'{key}="{text.replace(chr(34), chr(39))}"')
    return " ".join(parts)


def setup(level: str) -> None:
    """Log lines go to stderr, with time and level in front."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("detctl_agent")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
