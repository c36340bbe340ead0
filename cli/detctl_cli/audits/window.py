"""`--steps A:B`, half open, `--set`/`--vary NAME=V,W`, and `--budget 2%`."""

from __future__ import annotations

from detctl_cli.errors import UsageError


def window_of(text: str) -> tuple[int, int]:
    """(first, past the last) step of `0:32`. Raises UsageError."""
    first, colon, last = text.partition(":")
    if not colon or not (first or "0").isdigit() or not last.isdigit():
        raise UsageError(f"--steps {text}: not a window", "write --steps 0:32, or --to-end")
    start, end = int(first or "0"), int(last)
    if not 0 <= start < end < 2**32:
        raise UsageError(f"--steps {text}: the window is empty", "the first number must be below the second")
    return start, end


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
    """0.02 of `2%` or `0.02`; 0 where nothing was said. Raises UsageError."""
    if text is None:
        return 0.0
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / 100 if number.endswith("%") else float(number)
    except ValueError:
        share = 0.0
    if not 0.0 < share < 1.0:
        raise UsageError(f"--budget {text}: no share of step time", "write --budget 2%")
    return share
