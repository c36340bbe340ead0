"""Estimates the size of a difference from two sketches, without the values (docs/digest.md).

A sketch is 38 doubles: count of NaN, count of Inf, min, max, sum, L2, then 32 signed buckets y; ‖a-b‖ ≈ ‖y_a-y_b‖ within 12 % rms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

# Estimates only. tiny: as rounding or a small change makes; the class alone does not show it. gross: unrelated values.
Size = Literal["tiny", "small", "gross"]
SUM, L2, BUCKETS, LENGTH = 4, 5, 6, 38

# Relative sizes below which a difference is in class tiny. Rounding is among them, but so is one label of a thousand.
TINY_BELOW = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 4e-2, "float16": 5e-3}
GROSS_FROM = 5e-2


def relative_size(a: Sequence[float] | None, b: Sequence[float] | None) -> float | None:
    """Returns ‖a-b‖ divided by the larger norm; inf if only one side has NaN or Inf; None without two sketches."""
    if a is None or b is None or len(a) != LENGTH or len(b) != LENGTH:
        return None
    if (a[0], a[1]) != (b[0], b[1]):
        return math.inf
    distance = math.sqrt(sum((x - y) ** 2 for x, y in zip(a[BUCKETS:], b[BUCKETS:], strict=True)))
    norm = max(abs(a[L2]), abs(b[L2]))
    if not math.isfinite(distance) or not math.isfinite(norm):
        return None
    return distance / norm if norm else (0.0 if distance == 0 else math.inf)


def size_class(relative: float | None, dtype: str) -> Size | None:
    """Returns tiny, small or gross. None: unknown."""
    if relative is None:
        return None
    if relative < TINY_BELOW.get(dtype.removeprefix("torch."), 2e-5):
        return "tiny"
    return "gross" if relative >= GROSS_FROM else "small"


def one_bit_flip(a: Sequence[float] | None, b: Sequence[float] | None) -> float | None:
    """Returns the change of one element if exactly one bucket differs, by a power of two, as after a flipped mantissa bit.

    None: the sketches do not show this. The power of two is matched within the rounding of the buckets.
    """
    if a is None or b is None or len(a) != LENGTH or len(b) != LENGTH:
        return None
    changes = [x - y for x, y in zip(a[BUCKETS:], b[BUCKETS:], strict=True) if x != y]
    if len(changes) != 1 or not math.isfinite(changes[0]):
        return None
    change = abs(changes[0])
    nearest = 2.0 ** round(math.log2(change))
    blur = 64 * max(abs(a[L2]), abs(b[L2])) * 2.0**-52
    return change if abs(change - nearest) <= blur and blur < nearest / 4 else None
