"""The sketch: three forms agree, and a difference is estimated from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from detctl_probe.digest import sketch


def estimate(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return math.dist(a[6:], b[6:])


@pytest.mark.parametrize("count", [0, 1, 63, 70_000])
def test_forms_agree(count: int) -> None:
    values = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    by_definition = sketch.sketch_values(values.tolist())
    assert len(by_definition) == sketch.DOUBLES
    assert sketch.sketch_array(values.numpy()) == pytest.approx(by_definition, abs=1e-9)
    assert sketch.sketch_tensor(values) == pytest.approx(by_definition, abs=1e-9)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    values = [1.0, float("nan"), float("inf"), -2.0, float("-inf")]
    found = sketch.sketch_values(values)
    assert found[:6] == (1.0, 2.0, -2.0, 1.0, -1.0, math.sqrt(5.0))
    assert sketch.sketch_array(np.array(values)) == pytest.approx(found)
    assert sketch.sketch_values([float("nan")])[:3] == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("size", [1e-7, 1e-4, 1e-1])
def test_the_size_of_a_difference_is_estimated(size: float) -> None:
    generator = torch.Generator().manual_seed(3)
    ratios = []
    for _ in range(20):
        a = torch.randn(5000, dtype=torch.float64, generator=generator)
        change = size * torch.randn(5000, dtype=torch.float64, generator=generator)
        seen = estimate(sketch.sketch_tensor(a), sketch.sketch_tensor(a + change))
        ratios.append(seen / float(change.norm()))
    rms = math.sqrt(sum((ratio - 1) ** 2 for ratio in ratios) / len(ratios))
    assert rms < 0.25  # docs/digest.md states this bound


def test_a_permutation_and_a_strided_change_show() -> None:
    a = torch.arange(2048, dtype=torch.float32)
    b = a.clone()
    b[::32] += 1
    assert estimate(sketch.sketch_tensor(a), sketch.sketch_tensor(b)) == pytest.approx(8.0, rel=0.5)
    assert estimate(sketch.sketch_tensor(a), sketch.sketch_tensor(a.flip(0))) > 1


def test_complex_and_half_are_taken_as_doubles() -> None:
    value = torch.tensor([1 + 2j, 3 - 4j])
    assert sketch.sketch_tensor(value) == sketch.sketch_values([1.0, 2.0, 3.0, -4.0])
    assert sketch.sketch_tensor(value.conj()) == sketch.sketch_values([1.0, -2.0, 3.0, 4.0])
    assert sketch.sketch_tensor(torch.ones(3, dtype=torch.bfloat16)) == sketch.sketch_values([1.0] * 3)
