"""Measures the difference of two values exactly, element by element. Pure.

A difference is *rounding* only if this shows it: many elements, each within a few units in the last place. See docs/causes.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detctl_proto.verdict_words import PatternWord, ShortTypeWord, SideWord
from numpy.typing import NDArray

# name -> (bytes, bits of the mantissa); bfloat16 is the upper half of a float32.
FLOATS = {"float64": (8, 52), "float32": (4, 23), "float16": (2, 10), "bfloat16": (2, 7)}
# Types that a value may have been rounded to, with their mantissa bits. float16 has as many as TF32.
SHORTER: tuple[tuple[ShortTypeWord, int], ...] = (("bfloat16", 7), ("tf32", 10), ("float32", 23))
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"}
RANGES_SHOWN = 8
# Rounding: at most this many units in the last place at the median, and for no element more than this many units of the
# largest element (a sum that cancels has few digits left). Types of few bits: sums are made in a longer type.
ULP_MEDIAN_MAX, UNITS_MAX = 32, 256
ULP_MEDIAN_MAX_SHORT, UNITS_MAX_SHORT = 2, 4
# Numbers that a shorter type does not have by chance: this share of the values must have its bits only.
SHORT_SHARE = 0.98
# Median relative difference of results that were computed with 7 to 10 bits of mantissa.
REDUCED_FROM, REDUCED_TO = 2.0**-15, 2.0**-5
SCALED_WITHIN = 1e-3


@dataclass(frozen=True)
class Elements:
    """Two values of one dtype and shape, compared exactly.

    `every`: each how-manieth element was compared, 1: all. `differing`: how many of the `compared` elements differ. `ulp_*`:
    distance in units in the last place of the differing elements, for integers in ones. `bits`: how many bits differ in them
    altogether. `rows`: ranges [first, last] of the leading index in which elements differ; empty if only a part was compared.
    `rows_differing`, `rows_total`: numbers of rows. `special`: elements that are NaN or Inf on one side only. `scale`: the number
    with which the left value must be multiplied to get the right one, if one fits. `rounded_to`: the type whose bits one side has."""

    dtype: str
    shape: tuple[int, ...]
    total: int
    compared: int
    differing: int
    every: int = 1
    ulp_min: int | None = None
    ulp_median: float | None = None
    ulp_max: int | None = None
    bits: int = 0
    rows: tuple[tuple[int, int], ...] = ()
    rows_differing: int = 0
    rows_total: int = 0
    relative_max: float | None = None
    relative: float | None = None
    special: int = 0
    scale: float | None = None
    rounded_to: ShortTypeWord | None = None
    rounded_side: SideWord = ""
    pattern: PatternWord = "other"

    @property
    def one_bit(self) -> bool:
        """Whether exactly one bit of one element differs."""
        return self.differing == 1 and self.bits == 1


@dataclass(frozen=True)
class Change:
    """How two runs changed one value, such as a weight, from the same state. `ratio`: length of the second change relative to that of
    the first. `cosine`: of the angle between them. `proportional`: the second is the first times `ratio`, as after another
    learning rate. `relative`: length of their difference relative to the larger one."""

    ratio: float | None
    cosine: float | None
    proportional: bool
    relative: float | None


def widened(content: bytes, dtype: str) -> bytes:
    """Returns a value of a short floating-point type as float32."""
    numbers = _numbers(content, dtype)
    return content if numbers is None else numbers.astype("<f4").tobytes()


def measure_change(before: bytes, left: bytes, right: bytes, dtype: str) -> Change | None:
    """Returns the comparison of the changes from `before` to both sides; None if it cannot be measured."""
    if dtype not in FLOATS:
        return None
    start, a, b = (_numbers(one, dtype) for one in (before, left, right))
    if start is None or a is None or b is None or not start.size == a.size == b.size:
        return None
    with np.errstate(all="ignore"):
        finite = np.isfinite(start) & np.isfinite(a) & np.isfinite(b)
        ours, theirs = a[finite] - start[finite], b[finite] - start[finite]
        sizes = _norm(ours), _norm(theirs)
        # Each stored value is rounded, so a change is known within half a unit of the value on both ends.
        blur = epsilon(dtype) * _norm(np.maximum(np.abs(a[finite]), np.abs(start[finite])))
        if not sizes[0] or not sizes[1]:
            return Change(None, None, False, _plain(_norm(ours - theirs) / max(sizes)) if max(sizes) else None)
        ratio = float(ours @ theirs) / sizes[0] ** 2
        rest = _norm(theirs - ratio * ours)
        off = abs(ratio - 1) * sizes[0]
    proportional = rest <= max(blur, SCALED_WITHIN * off) and off > 4 * blur / math.sqrt(max(ours.size, 1))
    cosine = float(ours @ theirs) / (sizes[0] * sizes[1])
    length = ratio if proportional else sizes[1] / sizes[0]
    return Change(_plain(length), _plain(cosine), proportional, _plain(_norm(ours - theirs) / max(sizes)))


def measure(left: bytes, right: bytes, dtype: str, shape: Sequence[int], every: int = 1) -> Elements | None:
    """Returns the comparison of two contents in row-major order; None for a dtype that is not measured or contents that do not fit."""
    sizes = tuple(int(size) for size in shape)
    total = math.prod(sizes)
    a, b = _numbers(left, dtype), _numbers(right, dtype)
    if a is None or b is None or every < 1 or a.size != b.size or a.size != -(-total // every):
        return None
    patterns = _patterns_of(left, dtype), _patterns_of(right, dtype)
    differs = patterns[0] != patterns[1]
    count = int(differs.sum())
    base: dict[str, Any] = {
        "dtype": dtype,
        "shape": sizes,
        "total": total,
        "compared": int(a.size),
        "differing": count,
        "every": every,
    }
    rows = _rows(differs, sizes, every)
    if not count:
        return Elements(**base, **rows, pattern="equal")
    with np.errstate(all="ignore"):
        special = int((differs & (np.isfinite(a) != np.isfinite(b))).sum())
        usable = differs & np.isfinite(a) & np.isfinite(b)
        ours, theirs = a[usable], b[usable]
        distance = np.abs(ours - theirs)
        steps = _steps(left, right, dtype, usable)
        larger = np.maximum(np.abs(ours), np.abs(theirs))
        relative = distance[larger > 0] / larger[larger > 0]
        finite = np.isfinite(a) & np.isfinite(b)
        norm = max(_norm(a[finite]), _norm(b[finite]))
        scale = _scale(a[finite], b[finite], dtype)
        short, side = _rounded(patterns, a, b, dtype)
        found: dict[str, Any] = {
            **base,
            **rows,
            "bits": _bits(patterns[0][differs] ^ patterns[1][differs]),
            "special": special,
            "scale": scale,
            "rounded_to": short,
            "rounded_side": side,
        }
        if ours.size:
            found |= {
                "ulp_min": int(steps.min()),
                "ulp_median": float(np.median(steps)),
                "ulp_max": int(steps.max()),
                "relative_max": _plain(float(relative.max())) if relative.size else None,
                "relative": _plain(_norm(distance) / norm) if norm else None,
            }
        largest = float(np.abs(np.concatenate((a[finite], b[finite]))).max()) if finite.any() else 0.0
        worst = float(distance.max()) if distance.size else 0.0
        median = float(np.median(relative)) if relative.size else 0.0
    permuted = every == 1 and _permuted(patterns, sizes)
    pattern = _pattern(Elements(**found), permuted, worst / largest if largest else math.inf, median)
    return Elements(**{**found, "pattern": pattern})


def _pattern(one: Elements, permuted: bool, worst: float, median: float) -> PatternWord:
    """`worst`: the largest difference, relative to the largest element. `median`: of the relative differences."""
    if one.special:
        return "special-values"
    if permuted:
        return "permuted-rows"
    if one.differing == 1 and one.total > 1 and one.every == 1:
        return "one-bit" if one.bits == 1 else "one-element"
    if one.dtype in FLOATS and one.ulp_median is not None:
        if one.rounded_to is not None:
            return "reduced-precision"
        short = one.dtype in ("float16", "bfloat16")
        units = UNITS_MAX_SHORT if short else UNITS_MAX
        if one.ulp_median <= (ULP_MEDIAN_MAX_SHORT if short else ULP_MEDIAN_MAX) and worst <= units * epsilon(
            one.dtype
        ):
            return "rounding"
        if one.scale is not None:
            return "scaled"
        many = one.differing * 4 >= one.compared
        if many and not short and REDUCED_FROM <= median <= REDUCED_TO and worst <= REDUCED_TO:
            return "reduced-precision"
    return "few-elements" if one.differing * 4 < one.compared else "other"


def epsilon(dtype: str) -> float:
    """Returns the distance from 1 to the next number of the type."""
    return float(2.0 ** -FLOATS[dtype][1])


def _numbers(content: bytes, dtype: str) -> NDArray[np.float64] | None:
    """Returns the values as float64 (integers of 64 bits: nearly), or None."""
    if dtype == "bfloat16":
        if len(content) % 2:
            return None
        patterns = np.frombuffer(content, "<u2").astype(np.uint32) << np.uint32(16)
        return patterns.view(np.float32).astype(np.float64)
    if dtype not in FLOATS and dtype not in _INTEGERS:
        return None
    kind = np.dtype(dtype).newbyteorder("<")
    if len(content) % kind.itemsize:
        return None
    return np.frombuffer(content, kind).astype(np.float64)


def _patterns_of(content: bytes, dtype: str) -> NDArray[Any]:
    width = FLOATS[dtype][0] if dtype in FLOATS else np.dtype(dtype).itemsize
    return np.frombuffer(content, f"<u{width}")


def _steps(left: bytes, right: bytes, dtype: str, usable: NDArray[Any]) -> NDArray[Any]:
    """Returns how many numbers of the type lie between the two sides of each element."""
    if dtype not in FLOATS:
        kind = np.dtype(dtype).newbyteorder("<") if dtype != "bool" else np.dtype("u1")
        sides = [np.frombuffer(one, kind)[usable] for one in (left, right)]
    else:
        sides = [_ordered(_patterns_of(one, dtype)[usable]) for one in (left, right)]
    low, high = np.minimum(*sides), np.maximum(*sides)
    # Modulo 2^64, which is exact for the distance of signed numbers too.
    distance: NDArray[np.uint64] = high.astype(np.uint64) - low.astype(np.uint64)
    return distance


def _ordered(patterns: NDArray[Any]) -> NDArray[np.int64]:
    """Returns integers in the order of the floats that these patterns are; next numbers are 1 apart, and -0 is 0."""
    width = patterns.dtype.itemsize * 8
    sign = np.uint64(1) << np.uint64(width - 1)
    wide = patterns.astype(np.uint64)
    magnitude = (wide & (sign - np.uint64(1))).astype(np.int64)
    return np.where(wide & sign, -magnitude, magnitude)


def _bits(patterns: NDArray[Any]) -> int:
    return int(np.unpackbits(np.ascontiguousarray(patterns).view(np.uint8)).sum())


def _rows(differs: NDArray[Any], shape: tuple[int, ...], every: int) -> dict[str, Any]:
    """Returns which leading indices have differing elements."""
    if every != 1 or not shape or not shape[0] or not differs.size:
        return {}
    rows = np.flatnonzero(differs.reshape(shape[0], -1).any(axis=1))
    if not rows.size:
        return {"rows_total": shape[0]}
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    ends = np.append(starts[1:], rows.size) - 1
    ranges = [(int(rows[s]), int(rows[e])) for s, e in zip(starts[:RANGES_SHOWN], ends[:RANGES_SHOWN], strict=True)]
    return {"rows": tuple(ranges), "rows_differing": int(rows.size), "rows_total": shape[0]}


def _permuted(patterns: tuple[NDArray[Any], NDArray[Any]], shape: tuple[int, ...]) -> bool:
    """Returns whether both sides have the same rows in another order."""
    if not shape or shape[0] < 2:
        return False
    rows = [np.ascontiguousarray(one.reshape(shape[0], -1)) for one in patterns]
    if not rows[0].shape[1]:
        return False
    sides = [sorted(row.tobytes() for row in one) for one in rows]
    return sides[0] == sides[1]


def _rounded(
    patterns: tuple[NDArray[Any], NDArray[Any]], a: NDArray[Any], b: NDArray[Any], dtype: str
) -> tuple[ShortTypeWord | None, SideWord]:
    """Returns the shorter type whose mantissa bits nearly all numbers of exactly one side have, and the side."""
    if dtype not in FLOATS:
        return None, ""
    for short, bits in SHORTER:
        spare = FLOATS[dtype][1] - bits
        if spare <= 0:
            continue
        mask = np.array((1 << spare) - 1, patterns[0].dtype)
        shares = [_share(one, numbers, mask) for one, numbers in zip(patterns, (a, b), strict=True)]
        if max(shares) >= SHORT_SHARE and min(shares) < SHORT_SHARE / 2:
            return short, "first" if shares[0] > shares[1] else "second"
    return None, ""


def _share(patterns: NDArray[Any], numbers: NDArray[Any], mask: Any) -> float:
    """Returns the share of the numbers that are not 0 whose last mantissa bits are 0. Fewer than 8 numbers show nothing."""
    chosen = patterns[np.isfinite(numbers) & (numbers != 0)]
    return float((chosen & mask == 0).mean()) if chosen.size >= 8 else 0.0


def _scale(a: NDArray[Any], b: NDArray[Any], dtype: str) -> float | None:
    """Returns c if b = c·a but for rounding, and c is not 1."""
    if dtype not in FLOATS or a.size < 4:
        return None
    square = float(a @ a)
    if not square or not math.isfinite(square):
        return None
    factor = float(a @ b) / square
    rest = _norm(b - factor * a)
    off = abs(factor - 1) * math.sqrt(square)
    allowed = max(SCALED_WITHIN * off, 2 * epsilon(dtype) * math.sqrt(square))
    return factor if off > 4 * allowed and rest <= max(allowed, 0.02 * off) else None


def _norm(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.square(values).sum())) if values.size else 0.0


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
