"""The value of a seed: its fingerprint, and whether it comes from the clock or the process id."""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from typing import Any, Iterable, Optional

from detctl_probe.digest.fingerprint import Fingerprint

CLOCK_SLACK_S = 5


def looks_like(value: Any, clock: Iterable[int] = ()) -> Optional[str]:
    """Returns `the clock` or `the process id` if an integer or float seed is close to one, else None.

    clock: nanoseconds that the program has read; a seed made from one of them by division or truncation is the clock too.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value == os.getpid() and value > 100:
        return "the process id"
    for read in clock:
        for unit in (1, 10**3, 10**6, 10**9):
            whole = read // unit
            if value > 10**6 and value in (whole, whole % 2**32, whole % 2**31, whole % (2**32 - 1)):
                return "the clock"
    now = time.time()
    for scale in (1, 10**3, 10**6, 10**9):
        # Seeds are often cut to 32 bits.
        for candidate in (now * scale, int(now * scale) % 2**32):
            if candidate > 10**6 and abs(value - candidate) <= CLOCK_SLACK_S * scale and _narrow(scale, candidate):
                return "the clock"
    return None


def _narrow(scale: int, candidate: float) -> bool:
    # Five seconds of a clock that is cut to 32 bits must stay a small part of all seeds, or every seed looks like a clock.
    return CLOCK_SLACK_S * scale * 1000 < candidate


def fingerprint_of_seed(value: Any) -> Fingerprint:
    """Equal for seeds that seed alike, such as 3 and numpy.int64(3)."""
    kind = type(value).__name__
    if hasattr(value, "__index__"):
        kind, text = "int", repr(int(value))
    elif isinstance(value, (float, str, bytes, bytearray, list, tuple)):
        text = repr(value)
    elif hasattr(value, "tobytes"):
        text = value.tobytes().hex()
    else:
        # A SeedSequence has entropy; others are described by their type alone, since their repr holds addresses.
        text = repr(getattr(value, "entropy", None))
    return Fingerprint(blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).digest(), "py:" + kind)
