"""Two tensors held against each other: exactly what differs, and by how much."""

from __future__ import annotations

import math

import pytest
import torch
from detctl_checkpoints.compare import compare
from detctl_checkpoints.content import Checkpoint, Unread, of_value
from detctl_checkpoints.difference import BLOCK, plain_equal, tensor_difference
from hypothesis import given, settings
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FLOATS), st.integers(1, 300), st.data())
def test_one_flipped_bit_is_one_element(dtype: torch.dtype, count: int, data: st.DataObject) -> None:
    a = torch.arange(1, count + 1).to(dtype)
    at = data.draw(st.integers(0, count - 1))
    width = 8 * a.element_size()
    bits = {16: torch.int16, 32: torch.int32, 64: torch.int64}[width]
    b = a.clone()
    bit = data.draw(st.integers(0, width - 8))  # below the exponent's top: stays finite
    b.view(bits)[at] ^= 1 << bit
    found = tensor_difference(a, b)
    assert found is not None and (found["kind"], found["differing"]) == ("content", 1)
    if math.isfinite(float(b[at])):
        assert found["max_abs"] == pytest.approx(abs(float(a[at].double() - b[at].double())))
        assert found["max_ulp"] == 1 << bit


def test_layouts_do_not_matter_and_types_and_shapes_do() -> None:
    image = torch.randn(2, 3, 4, 5)
    assert tensor_difference(image, image.to(memory_format=torch.channels_last)) is None
    assert tensor_difference(torch.eye(3), torch.eye(3).to_sparse()) is None
    assert tensor_difference(torch.tensor([math.nan]), torch.tensor([math.nan])) is None
    assert tensor_difference(torch.tensor([0.0]), torch.tensor([-0.0]))["differing"] == 1  # type: ignore[index]
    assert tensor_difference(torch.ones(2), torch.ones(2, dtype=torch.float64))["kind"] == "dtype"  # type: ignore[index]
    assert tensor_difference(torch.ones(2), torch.ones(1, 2))["kind"] == "shape"  # type: ignore[index]
    nan = tensor_difference(torch.tensor([math.nan, 1.0]), torch.tensor([0.0, 1.0]))
    assert nan is not None and nan["relative"] is None and nan["max_ulp"] is None


def test_blocks_are_joined() -> None:
    a = torch.zeros(BLOCK + 5)
    b = a.clone()
    b[3], b[BLOCK + 1] = 1.0, 2.0
    found = tensor_difference(a, b)
    assert found is not None
    assert (found["differing"], found["max_abs"], found["relative"]) == (2, 2.0, 1.0)


def held(value: object, name: str = "a") -> Checkpoint:
    return Checkpoint(name, "torch.save", of_value(value))


def test_names_values_and_prefixes() -> None:
    weights = {"w": torch.ones(2), "b": torch.zeros(2)}
    found = compare(
        held({"model": weights, "step": 3, "gone": None}), held({"model": weights, "step": 3.0, "new": [1]})
    )
    assert [row["name"] for row in found["values"]] == ["step"], "3 is not 3.0"
    assert (found["only_a"], found["only_b"], found["outcome"]) == (["gone"], ["new.0"], "different")
    below = compare(held({"model": weights}), held(weights))
    assert below["outcome"] == "identical" and below["compared"]["tensors"] == 2
    assert any("'model.'" in note for note in below["notes"])


def test_what_cannot_be_read_is_never_identical() -> None:
    whole, torn = held({"w": torch.ones(2), "v": 1}), held({"w": torch.ones(2), "v": 1})
    torn.leaves["w"] = lambda: Unread("its file is cut")
    found = compare(whole, torn)
    assert found["outcome"] == "unverified" and found["unread"] == [{"name": "w", "why": "its file is cut"}]


def test_plain_values() -> None:
    assert plain_equal(math.nan, math.nan) and plain_equal((1, "a"), (1, "a"))
    assert not plain_equal(1, True) and not plain_equal(1, 1.0)


def test_non_finite_elements_are_counted_apart_and_spoil_no_number() -> None:
    a, b = torch.ones(4), torch.tensor([1.0, math.nan, math.inf, 1.5])
    found = tensor_difference(a, b)
    assert found is not None
    assert (found["differing"], found["non_finite"], found["max_abs"]) == (3, 2, 0.5)


def test_quantised_tensors_differ_by_their_parts() -> None:
    def quantised(scale: float, value: float = 1.0) -> torch.Tensor:
        return torch.quantize_per_tensor(torch.full((4,), value), scale, 0, torch.qint8)

    assert compare(held({"w": quantised(0.1)}), held({"w": quantised(0.1)}))["outcome"] == "identical"
    for other in (quantised(0.2), quantised(0.1, 2.0)):
        found = compare(held({"w": quantised(0.1)}), held({"w": other}))
        assert found["outcome"] == "different" and not found["unread"], found


def test_signed_zeros_and_empty_containers() -> None:
    assert not plain_equal(0.0, -0.0)
    assert compare(held({"x": {}, "y": []}), held({"x": {}, "y": []}))["outcome"] == "identical"
    assert compare(held({"x": {}}), held({"x": {"a": 1}}))["outcome"] == "different"
