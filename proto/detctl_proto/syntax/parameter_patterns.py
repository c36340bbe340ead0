"""Which values of a parameter a machine accepts, as regular expressions that its offer sends to the coordinator. Standard library alone.

A regular expression can take years (`(a|a)*$`), and whoever sends one must not stop the coordinator. So only two kinds are read:
a list of values, which is compared, and the expressions that detctl itself gives to agents, which are known to be harmless and are
evaluated from this file. The machine decides about every other when a run is assigned to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Of a parameter without a pattern of its own. Never a dash first: the value would be an option of the training's command.
DEFAULT_PATTERN = "([A-Za-z0-9._:/=+,@][A-Za-z0-9._:/=+,@-]{0,127})?"
COMMIT_PATTERN = "[0-9a-f]{40}"  # of git
EARLIER_DEFAULT = "[A-Za-z0-9._:/=+,@-]{0,128}"  # older agents send it
LIST_CHARACTERS_MAX = 1000
_HARMLESS = {text: re.compile(text, re.ASCII) for text in (DEFAULT_PATTERN, COMMIT_PATTERN, EARLIER_DEFAULT)}
_SPECIAL = frozenset(".^$*+?{}[]()")


def list_pattern(values: Iterable[str]) -> str:
    """The pattern that accepts these values alone."""
    return "|".join(map(re.escape, values))


def harmless_match(pattern: str, value: str) -> bool | None:
    """Whether the value matches one of detctl's own patterns as a whole; None for any other pattern."""
    own = _HARMLESS.get(pattern)
    return None if own is None else own.fullmatch(value) is not None


def may_accept(pattern: str, value: str) -> bool:
    """False if the machine surely refuses the value."""
    if (decided := harmless_match(pattern, value)) is not None:
        return decided
    listed = values_of(pattern)
    return listed is None or value in listed


def values_of(pattern: str) -> frozenset[str] | None:
    """The values of a `list_pattern`; None for any other pattern, or a long one."""
    if len(pattern) > LIST_CHARACTERS_MAX:
        return None
    values, text, characters = [], "", iter(pattern)
    for character in characters:
        if character == "\\":
            character = next(characters, "a")
            if character.isalnum():  # a class, a reference or an anchor
                return None
            text += character
        elif character == "|":
            values.append(text)
            text = ""
        elif character in _SPECIAL:
            return None
        else:
            text += character
    return frozenset([*values, text])
