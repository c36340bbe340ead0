"""Reads values of options: --steps A:B (without B), --set and --vary NAME=V,W, --budget 2% and names with commas."""

from __future__ import annotations

from detctl_proto.syntax import windows
from detctl_proto.syntax.windows import WindowError, parse_share

from detctl_cli.errors import UsageError


def requested_window(steps: str | None, to_end: bool) -> tuple[int, int | None]:
    """Returns the first step and the one after the last (None: to the end) of --steps and --to-end. Raises UsageError."""
    try:
        return windows.requested_window(steps, to_end)
    except WindowError as problem:
        raise UsageError(problem.message, problem.hint) from None


def assignment_of(option: str, text: str) -> tuple[str, list[str]]:
    """Returns (name, values) of `NAME=V` or, for --vary, `NAME=V,W`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{option} {text}: this is not NAME=VALUE", f"for example {option} workers=0")
    if option == "--set":
        return name.strip(), [value]
    values = [part.strip() for part in value.split(",")]
    if len(set(values)) != len(values):
        raise UsageError(
            f"--vary {text}: a value appears twice", "use --twins for several runs of the same configuration"
        )
    if len(values) < 2 or not all(values):
        raise UsageError(
            f"--vary {text}: at least two values are needed", "for example --vary workers=0,2; use --set for one value"
        )
    return name.strip(), values


def share_of(text: str | None) -> float:
    """Returns 0.02 for `2%` or `0.02`, and 0 for None. Raises UsageError."""
    try:
        return 0.0 if text is None else parse_share(text)
    except WindowError as problem:
        raise UsageError(problem.message, problem.hint) from None


def names(text: str | None) -> list[str]:
    """Returns the names in `a,b`, without blanks and duplicates."""
    return list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
