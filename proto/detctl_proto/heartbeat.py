"""How often a command that has nothing new to print reports that it still works, and how it writes durations."""

from __future__ import annotations

import os

HEARTBEAT_S = 15.0
VARIABLE = "DETCTL_HEARTBEAT_S"  # another interval in seconds, for tests


def heartbeat_s() -> float:
    """Returns the seconds between two heartbeats."""
    try:
        return max(0.05, float(os.environ.get(VARIABLE, HEARTBEAT_S)))
    except ValueError:
        return HEARTBEAT_S


def clock(seconds: float) -> str:
    """Returns a duration: `45 s`, `1:05 min` or `2:03 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
