"""Reads the options `--steps A:B`, `--set NAME=V`, `--vary NAME=V,W` and `--budget 2%`."""

from __future__ import annotations

from detctl_proto import windows
from detctl_proto.windows import WindowError, parse_share

from detctl_cli.errors import UsageError


def requested_window(steps: str | None, to_end: bool) -> tuple[int, int | None]:
    """(first step, step after the last) of --steps and --to-end; None: to the end. Raises UsageError."""
    try:
        return windows.requested_window(steps, to_end)
    except WindowError as problem:
        raise UsageError(problem.message, problem.hint) from None


def assignment_of(option: str, text: str) -> tuple[str, list[str]]:
    """(name, values) of `NAME=V` or, for --vary, `NAME=V,W`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"{option} {text}: no NAME=VALUE", f"for example {option} workers=0")
    if option == "--set":
        return name.strip(), [value]
    values = [part.strip() for part in value.split(",")]
    if len(set(values)) != len(values):
        raise UsageError(f"--vary {text}: a value appears twice", "twins of one arm are made by --twins")
    if len(values) < 2 or not all(values):
        raise UsageError(f"--vary {text}: needs two values or more", "for example --vary workers=0,2; one value: --set")
    return name.strip(), values


def share_of(text: str | None) -> float:
    """0.02 of `2%` or `0.02`; 0 if --budget is not given. Raises UsageError."""
    try:
        return 0.0 if text is None else parse_share(text)
    except WindowError as problem:
        raise UsageError(problem.message, problem.hint) from None
