"""Converts times and durations from and to short text."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def ago(unix_s: float, now_unix_s: float) -> str:
    """Returns `3 min ago`. A time in the future is `now`, and 0 is `never`."""
    if unix_s <= 0:
        return "never"
    age_s = now_unix_s - unix_s
    if age_s < 10:
        return "now"
    for limit_s, unit_s, word in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if age_s < limit_s:
            return f"{age_s / unit_s:.0f} {word} ago"
    return f"{age_s / 86400:.0f} d ago"


def seconds_of(text: str) -> float:
    """Returns the seconds in `30d`, `12h` or `90` (seconds). Raises ValueError for anything else, and for 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not a duration: write 30d, 12h, 45m or 90s")
    return float(match[1]) * _UNITS_S[match[2] or "s"]


def moment_of(text: str, now_unix_s: float, *, whole_day: bool = False) -> float:
    """Returns the time of `2d` (two days ago), `2026-11-01` or `2026-11-01T14:30`, both in local time, in seconds since 1970.

    whole_day: a date without a time means the end of that day, as an upper bound does. Raises ValueError for anything else.
    """
    try:
        return now_unix_s - seconds_of(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write 2d (two days ago), 2026-11-01 or 2026-11-01T14:30") from None
    is_date = re.fullmatch(r"[\d-]+", text.strip()) is not None
    return (found + timedelta(days=1) if whole_day and is_date else found).timestamp()


def count(number: float) -> str:
    """Returns `1,797` and, from a hundred thousand on, `123 k` or `1.2 M`."""
    if number < 100_000:
        return f"{number:,.0f}"
    return f"{number / 1e3:,.0f} k" if number < 1e6 else f"{number / 1e6:,.1f} M"


def short_clock(seconds: float) -> str:
    """Returns a duration for a column: `0:45`, `12:05` or `2:03:10`."""
    whole = int(seconds)
    minutes = f"{whole % 3600 // 60}:{whole % 60:02d}"
    return minutes if whole < 3600 else f"{whole // 3600}:{minutes.zfill(5)}"
