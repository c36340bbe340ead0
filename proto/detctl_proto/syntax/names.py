"""The form of names and identifiers, one definition for all sides. Standard library alone."""

from __future__ import annotations

import os
import re

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
NAME_RULE = "a-z, 0-9, '.', '_' and '-', at most 64, beginning with a letter or digit"
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}", re.ASCII)
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
BOOT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)  # of one start of an agent
# `{data}` in a command. Only what looks like a parameter's name is a placeholder: `{"a": 1}` stays as it is.
PLACEHOLDER = re.compile(rf"\{{({PARAMETER_NAME.pattern})\}}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether `text` may name a machine, recipe, environment, run, audit or caller."""
    return NAME.fullmatch(text) is not None


def to_name(text: str, otherwise: str, characters_max: int = 64) -> str:
    """A text in the form that names have: other characters become `-`; `otherwise` if nothing is left."""
    return re.sub(r"[^a-z0-9._-]", "-", text.lower()).lstrip("._-")[:characters_max] or otherwise


def machine_name() -> str:
    """This host's name in the form that names have."""
    return to_name(os.uname().nodename, "local")
