"""Exit codes of every command; scripts and CI depend on them (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """As diff's, and one more: a comparison that lacks data is neither equal nor different."""

    IDENTICAL = 0
    DIFFERENT = 1
    TROUBLE = 2
    UNVERIFIED = 3
    INTERRUPTED = 130
    TERMINATED = 143


_OUTCOMES = {"identical": Exit.IDENTICAL, "different": Exit.DIFFERENT, "unverified": Exit.UNVERIFIED}


def exit_of_verdict(verdict: Mapping[str, Any]) -> Exit:
    """The code that belongs to a verdict; an outcome that this version does not know is never success."""
    return _OUTCOMES.get(str(verdict.get("outcome")), Exit.UNVERIFIED)
