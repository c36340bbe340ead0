"""Planted differences are measured exactly: what differs, by how much, where, and with which pattern."""

from __future__ import annotations

import math

import numpy as np
import pytest
from detctl_coordinator.comparison.sizes.elements import Elements, measure, measure_change
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.float32]
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([(64,), (16, 16), (8, 3, 5, 5), (300, 7)])
KINDS = st.sampled_from(["float64", "float32", "float16", "bfloat16"])


def normal(seed: int, shape: tuple[int, ...], kind: str = "float32") -> NDArray[np.generic]:
    """Normal numbers without zeros; bfloat16 as its 16-bit words."""
    values = np.random.default_rng(seed).normal(size=shape) + 1e-3
    return bfloat16(values) if kind == "bfloat16" else values.astype(kind)


def bfloat16(values: NDArray[np.generic]) -> NDArray[np.generic]:
    words = values.astype(np.float32).view(np.uint32)
    return ((words + np.uint32(0x7FFF) + ((words >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def with_bits(values: Array, bits: int) -> Array:
    """Rounds to that many mantissa bits, as TF32 (10) and bfloat16 (7) do."""
    spare = np.uint32(23 - bits)
    words = values.view(np.uint32)
    half = (np.uint32(1) << (spare - np.uint32(1))) - np.uint32(1) + ((words >> spare) & np.uint32(1))
    return (((words + half) >> spare) << spare).view(np.float32)


def measured(a: NDArray[np.generic], b: NDArray[np.generic], kind: str = "float32") -> Elements:
    found = measure(a.tobytes(), b.tobytes(), kind, a.shape)
    assert found is not None and found.total == found.compared == a.size
    return found


@given(SEEDS, SHAPES, KINDS)
def test_equal_values(seed: int, shape: tuple[int, ...], kind: str) -> None:
    a = normal(seed, shape, kind)
    found = measured(a, a.copy(), kind)
    assert (found.pattern, found.differing, found.rows) == ("equal", 0, ())


@given(SEEDS, SHAPES, KINDS, st.floats(0.1, 1.0))
def test_one_ulp_in_many_elements_is_rounding(seed: int, shape: tuple[int, ...], kind: str, share: float) -> None:
    a = normal(seed, shape, kind)
    width = a.dtype.itemsize * 8
    chosen = np.random.default_rng(seed + 1).random(shape) < share
    chosen.reshape(-1)[:2] = True
    b = (a.view(f"u{width // 8}") + chosen.astype(f"u{width // 8}")).view(a.dtype)
    found = measured(a, b, kind)
    assert found.pattern == "rounding"
    assert (found.ulp_min, found.ulp_median, found.ulp_max) == (1, 1.0, 1)
    assert found.differing == chosen.sum() and not found.one_bit
    rows = chosen.reshape(shape[0], -1).any(axis=1)
    assert (found.rows_differing, found.rows_total) == (rows.sum(), shape[0])
    assert found.rows[0][0] == np.flatnonzero(rows)[0]


@given(SEEDS, SHAPES, KINDS, st.data())
def test_one_bit(seed: int, shape: tuple[int, ...], kind: str, data: st.DataObject) -> None:
    a = normal(seed, shape, kind)
    place, mantissa = data.draw(st.integers(0, a.size - 1)), {8: 52, 4: 23}.get(a.dtype.itemsize, 7)
    words = a.view(f"u{a.dtype.itemsize}").copy()
    words.reshape(-1)[place] ^= words.dtype.type(1) << words.dtype.type(data.draw(st.integers(0, mantissa - 1)))
    found = measured(a, words.view(a.dtype), kind)
    row = place // (a.size // shape[0])
    assert found.pattern == "one-bit" and found.one_bit and found.rows == ((row, row),)


@given(SEEDS, SHAPES, KINDS)
def test_one_wrong_element_is_not_rounding(seed: int, shape: tuple[int, ...], kind: str) -> None:
    a = normal(seed, shape, kind)
    b = a.copy()
    b.reshape(-1)[3] = b.dtype.type(0x4123 if kind == "bfloat16" else 10.07)
    found = measured(a, b, kind)
    assert found.differing == 1 and found.pattern in ("one-element", "one-bit") and (found.ulp_min or 0) > 4


@given(SEEDS, st.integers(1, 10), st.integers(0, 63))
def test_one_label(seed: int, off: int, place: int) -> None:
    a = np.random.default_rng(seed).integers(0, 1000, 64)
    b = a.copy()
    b[place] += off
    found = measured(a, b, "int64")
    assert (found.differing, found.ulp_min, found.ulp_max) == (1, off, off)
    assert found.pattern in ("one-element", "one-bit") and found.rows == ((place, place),)


@given(SEEDS, st.sampled_from(["uint8", "float32"]), st.integers(0, 8 * 3 * 6 * 6 - 1))
def test_one_pixel_off_by_one(seed: int, kind: str, place: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 254, (8, 3, 6, 6))
    other = pixels.copy()
    other.reshape(-1)[place] += 1
    scale = 1 if kind == "uint8" else 255
    found = measured((pixels / scale).astype(kind), (other / scale).astype(kind), kind)
    row = place // 108
    assert found.differing == 1 and found.pattern in ("one-element", "one-bit") and found.rows == ((row, row),)
    if kind == "uint8":
        assert found.ulp_max == 1


@given(SEEDS, st.sampled_from([1e-1, 1e-2, 1e-3, 1e-4]), st.floats(0.5, 2.0))
def test_another_learning_rate_is_a_proportional_change(seed: int, lr: float, factor: float) -> None:
    factor = 1.001 if abs(factor - 1) < 1e-3 else factor
    weight, gradient = normal(seed, (64, 32)), normal(seed + 1, (64, 32))
    ours = (weight - np.float32(lr) * gradient).astype(np.float32)
    theirs = (weight - np.float32(lr * factor) * gradient).astype(np.float32)
    found = measure_change(weight.tobytes(), ours.tobytes(), theirs.tobytes(), "float32")
    assert found is not None and found.proportional
    assert found.ratio == pytest.approx(factor, abs=1e-3 if lr == 1e-4 else 1e-4)


@given(SEEDS, st.sampled_from([1e-1, 1e-2, 1e-3]))
def test_a_dropped_momentum_is_neither_proportional_nor_rounding(seed: int, lr: float) -> None:
    weight, gradient, moment = (normal(seed + n, (64, 32)) for n in range(3))
    ours = (weight - np.float32(lr) * (gradient + np.float32(0.9) * moment)).astype(np.float32)
    theirs = (weight - np.float32(lr) * gradient).astype(np.float32)
    found = measure_change(weight.tobytes(), ours.tobytes(), theirs.tobytes(), "float32")
    assert found is not None and not found.proportional
    assert found.cosine is not None and 0.5 < found.cosine < 0.9
    assert found.relative is not None and found.relative > 0.3


@given(SEEDS)
def test_rounding_of_a_weight_is_no_proportional_change(seed: int) -> None:
    weight, gradient = normal(seed, (64, 32)), normal(seed + 1, (64, 32))
    ours = (weight - np.float32(1e-3) * gradient).astype(np.float32)
    theirs = (ours.view(np.uint32) ^ np.random.default_rng(seed).integers(0, 2, (64, 32), np.uint32)).view(np.float32)
    found = measure_change(weight.tobytes(), ours.tobytes(), theirs.tobytes(), "float32")
    assert found is not None and not found.proportional
    assert measured(ours, theirs).pattern == "rounding"


@given(SEEDS, SHAPES, st.sampled_from([("tf32", 10), ("bfloat16", 7)]), st.booleans())
def test_numbers_of_a_shorter_type(seed: int, shape: tuple[int, ...], short: tuple[str, int], swapped: bool) -> None:
    a = normal(seed, shape)
    b = with_bits(a, short[1])
    found = measured(b, a) if swapped else measured(a, b)
    assert found.pattern == "reduced-precision"
    assert (found.rounded_to, found.rounded_side) == (short[0], "first" if swapped else "second")


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([10, 7]))
def test_products_of_rounded_operands(seed: int, bits: int) -> None:
    """A matrix product in TF32 or under autocast: the operands are rounded, the result is a full float32."""
    a, b = normal(seed, (32, 256)), normal(seed + 1, (256, 32))
    found = measured(a @ b, with_bits(a, bits) @ with_bits(b, bits))
    assert found.pattern == "reduced-precision" and found.rounded_to is None
    assert found.relative is not None and 2**-14 < found.relative < 2**-6


@settings(max_examples=40)
@given(SEEDS, st.sampled_from(["float32", "float64"]))
def test_another_order_of_a_sum_is_rounding(seed: int, kind: str) -> None:
    terms = normal(seed, (4096, 64), kind)
    found = measured(np.add.reduce(terms, axis=0), np.add.reduce(terms[::-1].copy(), axis=0), kind)
    assert found.pattern in ("rounding", "equal")


@given(SEEDS, st.floats(1.01, 4.0))
def test_a_scaled_value(seed: int, factor: float) -> None:
    a = normal(seed, (64, 3))
    found = measured(a, (a * np.float32(factor)).astype(np.float32))
    assert found.pattern == "scaled" and found.scale == pytest.approx(factor, rel=1e-4)


@given(SEEDS)
def test_rows_in_another_order(seed: int) -> None:
    a = normal(seed, (32, 5))
    b = a[::-1].copy()
    found = measured(a, b)
    assert found.pattern == "permuted-rows" and found.rows == ((0, 31),)


@given(SEEDS, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_special_values_of_one_side(seed: int, special: float) -> None:
    a = normal(seed, (32, 5))
    b = a.copy()
    b[3, 2] = special
    found = measured(a, b)
    assert found.pattern == "special-values" and found.special == 1 and found.rows == ((3, 3),)


@given(SEEDS)
def test_one_row_that_differs_much(seed: int) -> None:
    """The gradient of one sample with another label."""
    a = normal(seed, (32, 50))
    b = a.copy()
    b[7] = normal(seed + 1, (50,))
    found = measured(a, b)
    assert found.pattern == "few-elements" and found.rows == ((7, 7),) and found.differing == 50


def test_a_part_and_what_cannot_be_measured() -> None:
    a = normal(0, (40, 5))
    part = measure(a.reshape(-1)[::8].tobytes(), a.reshape(-1)[::8].tobytes(), "float32", (40, 5), every=8)
    assert part is not None and (part.compared, part.total, part.rows) == (25, 200, ())
    assert measure(a.tobytes(), a.tobytes(), "complex64", (40, 5)) is None
    assert measure(a.tobytes(), a.tobytes()[:-4], "float32", (40, 5)) is None
    assert measure(b"", b"", "float32", (0, 5)) is not None
