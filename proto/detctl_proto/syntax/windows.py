"""Windows of steps and shares of step time as users write them: command line and agent accept the same. Standard library alone."""

from __future__ import annotations

import re

DEFAULT_STEPS = 32  # of a window that nobody set: it begins at step 0
_STEPS = re.compile(r"([0-9]{0,9}):([0-9]{0,9})", re.ASCII)


class WindowError(ValueError):
    """A window or a share cannot be used: `message` is what is wrong, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


def parse_steps(text: str) -> tuple[int, int | None]:
    """(first step, step after the last) of `A:B`, `:B` or `A:`; `A:` is to the end (None). Raises WindowError."""
    found = _STEPS.fullmatch(text.strip())
    if found is None or found[0] == ":":
        raise WindowError(
            f"--steps {text}: not a window of steps", "write A:B, for example 0:32, or A: for all from A on"
        )
    start, end = int(found[1] or 0), int(found[2]) if found[2] else None
    if end is not None and end <= start:
        raise WindowError(f"--steps {text}: the window is empty", "B is exclusive and must be greater than A")
    return start, end


def requested_window(steps: str | None, to_end: bool) -> tuple[int, int | None]:
    """The window that `--steps` and `--to-end` request together; the default one if neither is given. Raises WindowError."""
    if steps is None:
        return 0, None if to_end else DEFAULT_STEPS
    start, end = parse_steps(steps)
    if to_end and end is not None:
        raise WindowError("--steps A:B and --to-end exclude each other", "A: with --to-end begins at step A")
    return start, end


def parse_share(text: str) -> float:
    """0.02 of `2%` or `0.02`. Raises WindowError."""
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / 100 if number.endswith("%") else float(number)
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise WindowError(f"--budget {text}: not a share of step time", "write 2% or 0.02")
    return share
