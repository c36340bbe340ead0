"""Names and what they may look like."""

from __future__ import annotations

import re
import socket

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}", re.ASCII)
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
NAME_RULE = "a-z, 0-9, '.', '_' and '-', at most 64, beginning with a letter or digit"


def is_name(text: str) -> bool:
    """Whether `text` may name a machine, recipe, environment, run or audit."""
    return NAME.fullmatch(text) is not None


def machine_name() -> str:
    """This host's name in the form that names have."""
    plain = re.sub(r"[^a-z0-9._-]", "-", socket.gethostname().lower()).lstrip("._-")[:64]
    return plain or "local"
