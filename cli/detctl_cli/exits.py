"""Exit codes of all commands. Scripts and CI depend on them (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from detctl_proto.verdict_words import EXIT_CODES


class Exit(IntEnum):
    """The exit codes of diff, and UNVERIFIED: a comparison that lacks data is neither identical nor different."""

    IDENTICAL = 0
    DIFFERENT = 1
    TROUBLE = 2
    UNVERIFIED = 3
    INTERRUPTED = 130
    TERMINATED = 143


def exit_of_verdict(verdict: Mapping[str, Any]) -> Exit:
    """Returns the exit code of a verdict. An outcome that this version does not know is never success."""
    outcome = verdict.get("outcome")
    return next((Exit(code) for word, code in EXIT_CODES.items() if word == outcome), Exit.UNVERIFIED)
