"""Fingerprints of what data is made of: equal for equal values, other for others, in every process and place."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import os
import subprocess
import sys
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from detctl_probe.digest import n6, values
from detctl_probe.digest.values import NoDigestError, by_path, fingerprint, fold_rows, gather, is_opaque, leaves
from hypothesis import given
from hypothesis import strategies as st


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Thing:
    pass


class Holder:
    def __init__(self) -> None:
        self.image = torch.ones(2)
        self.inner = {"id": 3}


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


Point = collections.namedtuple("Point", "x y")
WHEN = datetime.datetime(2024, 1, 2, 3, 4)
MARKED = [
    None,
    True,
    1,
    1.0,
    1j,
    "1",
    b"1",
    Colour.RED,
    WHEN,
    (1,),
    [1],
    {1},
    PurePosixPath("1"),
    range(1),
    Thing,
    np.int8(1),
]


@pytest.mark.parametrize("value", MARKED, ids=str)
def test_a_value_equals_itself_and_no_other(value: Any) -> None:
    one = fingerprint(value)
    assert one == fingerprint(value)
    same = [
        other for other in MARKED if (fingerprint(other).digest, fingerprint(other).dtype) == (one.digest, one.dtype)
    ]
    assert len(same) == 1
    assert len(one.digest) == 16


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (torch.ones(2, 3), "float32", (2, 3)),
        (np.ones((2, 3), "f4"), "float32", (2, 3)),
        (np.float64(2), "float64", ()),
        (3, "py:int", ()),
        ("a", "py:str", ()),
        (["a", "b"], "py:list", (2,)),
        (Colour.BLUE, "py:enum:Colour", ()),
        (np.array(["2024-01-02"], "M8[D]"), "datetime64[D]", (1,)),
    ],
)
def test_labels(value: Any, dtype: str, shape: tuple[int, ...]) -> None:
    one = fingerprint(value)
    assert (one.dtype, one.shape) == (dtype, shape)


def test_a_tensor_and_an_array_of_the_same_content_agree() -> None:
    tensor = torch.randn(4, 5)
    assert fingerprint(tensor, rows=True) == fingerprint(tensor.numpy(), rows=True)


def test_layout_and_subclass_are_not_content() -> None:
    tensor = torch.arange(24.0).reshape(2, 3, 4)
    swapped = tensor.transpose(0, 2).contiguous().transpose(0, 2)
    assert swapped.stride() != tensor.stride()
    assert fingerprint(swapped) == fingerprint(tensor) == fingerprint(torch.nn.Parameter(tensor))


@given(st.permutations(range(12)))
def test_the_order_blind_digest_sees_no_permutation_and_the_digest_does(order: list[int]) -> None:
    rows = torch.arange(48.0).reshape(12, 4)
    one, other = fingerprint(rows, rows=True), fingerprint(rows[order], rows=True)
    assert one.order_blind == other.order_blind
    assert (one.digest == other.digest) == (order == sorted(order))
    assert other.rows == tuple((one.rows or ())[index] for index in order)
    names, mixed = [str(n) for n in range(12)], [str(n) for n in order]
    assert fingerprint(names).order_blind == fingerprint(mixed).order_blind


def test_samples_and_their_batch_have_the_same_rows() -> None:
    samples = [torch.randn(3, 2) for _ in range(5)]
    assert gather([fingerprint(sample) for sample in samples]).rows == fingerprint(torch.stack(samples), rows=True).rows


def test_rows_of_different_shapes_report_the_shape() -> None:
    flat, square = fingerprint(torch.zeros(4)), fingerprint(torch.zeros(2, 2))
    assert flat.digest == square.digest
    gathered = gather([flat, square])
    assert (gathered.shape, len(set(gathered.rows or ()))) == ((2,), 2)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 300])
def test_folding_rows_fast_is_folding_rows(count: int) -> None:
    rows = [os.urandom(16) for _ in range(count)]
    assert fold_rows(rows) == (n6.digest_rows(rows), n6.order_blind(rows))


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(2).to_sparse(),
        torch.ones(2, device="meta"),
        torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        np.ones(2, np.longdouble),
    ],
    ids=["sparse", "meta", "quantised", "longdouble"],
)
def test_what_has_no_digest_reports_why(value: Any) -> None:
    with pytest.raises(NoDigestError, match=r"\w"):
        fingerprint(value)


def test_fake_tensors_have_no_content() -> None:
    mode = pytest.importorskip("torch._subclasses.fake_tensor").FakeTensorMode()
    with mode:
        fake = torch.ones(2)
    with pytest.raises(NoDigestError, match="FakeTensor"):
        fingerprint(fake)


def test_an_unknown_object_is_opaque_and_never_its_address() -> None:
    assert fingerprint(object()) == fingerprint(object())
    assert is_opaque(fingerprint(object()))
    assert is_opaque(fingerprint(Thing()))


def test_images_by_mode_size_and_pixels() -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (4, 3), (1, 2, 3))
    one = fingerprint(image)
    assert (one.dtype, one.shape) == ("PIL:RGB", (3, 4))
    assert one.digest == n6.digest_array(np.asarray(image))
    assert fingerprint(image.convert("L")).dtype == "PIL:L"
    painted = image.copy()
    painted.putpixel((0, 0), (9, 9, 9))
    assert fingerprint(painted).digest != one.digest


def test_an_image_that_is_not_loaded_is_left_alone(tmp_path: Any) -> None:
    pil = pytest.importorskip("PIL.Image")
    pil.new("RGB", (4, 3)).save(tmp_path / "a.png")
    with pil.open(tmp_path / "a.png") as image:
        with pytest.raises(NoDigestError, match="not loaded"):
            fingerprint(image)
        image.load()
        assert fingerprint(image).shape == (3, 4)


def test_leaves_are_named_by_their_way() -> None:
    value = {"image": torch.ones(1), "pair": Point(torch.ones(1), "a"), "more": [Pair(1, [2, 3]), Holder()]}
    assert [path for path, _ in leaves(value)] == [
        "image", "pair.x", "pair.y", "more.0.left", "more.0.right", "more.1.image", "more.1.inner.id",
    ]  # fmt: skip
    assert [path for path, _ in leaves(5)] == [""]


def test_a_ragged_column_of_a_batch_is_one_leaf() -> None:
    batch = {"boxes": [torch.ones(n, 4) for n in range(3)]}
    ((path, leaf),) = leaves(batch, 3)
    assert path == "boxes"
    assert len(fingerprint(leaf, rows=True).rows or ()) == 3
    assert [path for path, _ in leaves(batch, 4)] == ["boxes.0", "boxes.1", "boxes.2"]


def test_limits_report_it() -> None:
    deep: Any = torch.ones(1)
    for _ in range(20):
        deep = {"x": deep}
    loop: list[Any] = [torch.ones(1)]
    loop.append(loop)
    wide = {str(n): torch.ones(1) for n in range(1000)}
    for value, why in ((deep, "deep"), (loop, "itself"), (wide, "256")):
        *_, (_, last) = leaves(value)
        with pytest.raises(NoDigestError, match=why):
            fingerprint(last)


def test_paths_are_digested_by_their_logical_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_logical", lambda path: path.replace("/mnt/a", "{data}"))
    one = [fingerprint("/mnt/a/1.png"), fingerprint(PurePosixPath("/mnt/a/1.png"))]
    monkeypatch.setattr(values, "_logical", lambda path: path.replace("/disk/b", "{data}"))
    assert one == [fingerprint("/disk/b/1.png"), fingerprint(PurePosixPath("/disk/b/1.png"))]


def test_columns_gather_samples_by_leaf() -> None:
    columns = by_path([{"a": fingerprint(1), "b": fingerprint("x")}, {"a": fingerprint(2)}])
    assert [(path, column.shape) for path, column in columns.items()] == [("a", (2,)), ("b", (1,))]


def test_other_processes_give_the_same_digests() -> None:
    code = (
        "import sys; import torch, numpy; from detctl_probe.digest.values import fingerprint;"
        "print([fingerprint(v).digest.hex() for v in ({'a': [1, 'x']}, (1.5, None), frozenset(['k']), torch.arange(3), object())])"
    )
    outputs = set()
    for seed in ("1", "2"):
        variables = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        outputs.add(subprocess.run([sys.executable, "-c", code], env=variables, check=True, capture_output=True).stdout)
    assert len(outputs) == 1
