"""What a machine's offer says of a parameter's values, read without evaluating any expression that the machine sent.

A regular expression can take years (`(a|a)*$`), and whoever sends one must not stop the coordinator. So only two kinds say
anything here: a list of values, which is compared, and the expressions that detctl itself gives to agents, which are known to
be harmless and are evaluated from this file. About every other the machine decides when the run is assigned to it.
"""

from __future__ import annotations

import re

# A parameter of which the machine's owner says nothing, and a commit (detctl_agent/catalog/recipe.py, git_source.py).
DEFAULT_PATTERN = "([A-Za-z0-9._:/=+,@][A-Za-z0-9._:/=+,@-]{0,127})?"
COMMIT_PATTERN = "[0-9a-f]{40}"
EARLIER_DEFAULT = "[A-Za-z0-9._:/=+,@-]{0,128}"
OWN = {text: re.compile(text, re.ASCII) for text in (DEFAULT_PATTERN, COMMIT_PATTERN, EARLIER_DEFAULT)}
LIST_CHARS_MAX = 1000
_SPECIAL = frozenset(".^$*+?{}[]()")


def may_take(pattern: str, value: str) -> bool:
    """False where the machine surely refuses the value."""
    if (own := OWN.get(pattern)) is not None:
        return own.fullmatch(value) is not None
    listed = values_of(pattern)
    return listed is None or value in listed


def values_of(pattern: str) -> frozenset[str] | None:
    """The values of a plain list, which agents send as an alternation of escaped texts; None for any other pattern, or a long one."""
    if len(pattern) > LIST_CHARS_MAX:
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
