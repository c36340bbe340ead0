"""The digest's test vectors, on every form that this process has, and its algebra."""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
import struct
import subprocess

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from detctl_probe.digest import kernel, n6, n6_numpy, n6_torch
from detctl_probe.observe.model import openmp, shards
from hypothesis import HealthCheck, given, settings

VECTORS = [
    (torch.zeros(1), 0, "887fc09c32e79462 637e0b1d0e944ac8"),
    (torch.arange(10, dtype=torch.float32), 0, "e0af48c3f6e76072 00f8a8e754ac6a9e"),
    (torch.arange(10, dtype=torch.bfloat16), 0, "ab097476d8057592 45ffed8401df9888"),
    (torch.arange(10, dtype=torch.float64), 0, "9c05f878f0239d71 1693f31511a56d68"),
    (torch.arange(256, dtype=torch.uint8), 0, "2f57969f0854eaf8 e7c189fbd6a9100b"),
    (torch.zeros(1000), 0, "99622419ae4f91b2 9ab89325b261dc44"),
    (torch.arange(1000), 0, "7aafce23b3a8272c 3b407a997a595734"),
    (torch.arange(10, dtype=torch.float32), 2**33, "fb4f4361c13c33f0 cbe838611cc59c50"),
]


def packed(hexes: str) -> bytes:
    return struct.pack("<QQ", *(int(lane, 16) for lane in hexes.split()))


@pytest.fixture(scope="module")
def compiled() -> str:
    return kernel.compile_into()


@pytest.fixture(params=["off", *kernel.FORMS], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, compiled: str) -> str:
    """Each test runs on the reference and on every form of the C kernel that this CPU has."""
    if request.param == "off":
        monkeypatch.setattr(n6, "KERNEL", None)
        return "off"
    monkeypatch.setenv("DETCTL_KERNEL", request.param)
    loaded = kernel.load()
    assert loaded is not None
    if loaded.form != request.param:
        pytest.skip(f"this CPU has no {request.param}")
    monkeypatch.setattr(n6, "KERNEL", loaded)
    return loaded.form


@pytest.mark.parametrize(("tensor", "first", "expected"), VECTORS)
def test_vectors(tensor: torch.Tensor, first: int, expected: str) -> None:
    assert n6.digest_tensor(tensor, first) == packed(expected)
    assert struct.pack("<QQ", *n6_torch.sums(n6.as_integers(tensor), first)) == packed(expected)
    by_word = [n6._word(first + i, int(w)) for i, w in enumerate(n6_numpy.words_of(n6.as_integers(tensor).numpy()))]
    lanes = (sum(a for a, _ in by_word) % 2**64, sum(b for _, b in by_word) % 2**64)
    assert struct.pack("<QQ", *lanes) == packed(expected)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bool, torch.int8, torch.complex64, torch.complex128, torch.float8_e4m3fn]
)
def test_every_form_agrees(dtype: torch.dtype) -> None:
    tensor = (torch.arange(70_000) % 113).to(torch.float32).to(dtype)
    assert n6.digest_tensor(tensor) == struct.pack("<QQ", *n6_torch.sums(n6.as_integers(tensor), 0))


def test_layout_does_not_matter_and_content_does() -> None:
    image = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = n6.digest_tensor(image)
    assert n6.digest_tensor(image.to(memory_format=torch.channels_last)) == expected
    assert n6.digest_tensor(image.transpose(2, 3).contiguous().transpose(2, 3)) == expected
    assert n6.digest_tensor(torch.cat([image, image])[:4]) == expected
    assert n6.digest_tensor(image.clone().requires_grad_()) == expected
    other = image.clone()
    other.view(torch.int32).view(-1)[17] ^= 1
    assert n6.digest_tensor(other) != expected
    assert n6.digest_tensor(torch.empty(0)) == n6.EMPTY
    assert n6.digest_tensor(torch.tensor(-0.0)) != n6.digest_tensor(torch.tensor(0.0))
    assert n6.digest_tensor(torch.complex(torch.ones(3), torch.ones(3)).conj()) == n6.digest_tensor(
        torch.complex(torch.ones(3), -torch.ones(3))
    )


def test_the_kernel_needs_no_library(compiled: str) -> None:
    """One file serves every interpreter and libc: no symbol but its own, and no library beside it."""
    undefined = subprocess.run(["nm", "-D", "--undefined-only", compiled], capture_output=True, text=True, check=True)
    assert undefined.stdout.strip() == ""
    dynamic = subprocess.run(["readelf", "-d", compiled], capture_output=True, text=True, check=True)
    assert "NEEDED" not in dynamic.stdout and "SONAME" not in dynamic.stdout


DTYPES = [torch.uint8, torch.int16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]


@st.composite
def cut_tensors(draw: st.DrawFn) -> tuple[torch.Tensor, int, int, list[int]]:
    """(tensor, its dimension to cut, one more that is cut in two (dimension 0, or -1: none), where to cut)."""
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    count = int(np.prod(shape))
    seed = draw(st.integers(0, 2**31))
    values = torch.randint(-100, 100, (count,), generator=torch.Generator().manual_seed(seed))
    dim = draw(st.integers(0, len(shape) - 1))
    cuts = sorted(draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
    outer = draw(st.sampled_from([-1, 0])) if dim else -1
    return values.to(draw(st.sampled_from(DTYPES))).view(shape), dim, outer, cuts


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_tensors())
def test_shards_of_any_dimension_add_up(cut: tuple[torch.Tensor, int, int, list[int]]) -> None:
    """Rows, columns and two-dimensional meshes, as shards.py asks for them."""
    whole, dim, outer, cuts = cut
    word_count = shards._word_count(whole)
    inner = math.prod(whole.shape[dim + 1 :])
    a = b = 0
    halves = [(0, whole)]
    if outer == 0:
        middle = whole.shape[0] // 2
        halves = [(0, whole[:middle]), (middle, whole[middle:])]
    for first_row, half in halves:
        for start, end in itertools.pairwise([0, *cuts, whole.shape[dim]]):
            part = half.narrow(dim, start, end - start)
            first = (first_row * math.prod(whole.shape[1:]) + start * inner) * word_count
            runs = math.prod(half.shape[:dim])
            made = n6.digest_runs(part, first, runs, whole.shape[dim] * inner * word_count)
            left, right = struct.unpack("<QQ", made)
            a, b = (a + left) % 2**64, (b + right) % 2**64
    assert struct.pack("<QQ", a, b) == n6.digest_tensor(whole)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_tensors(), st.data())
def test_one_bit_or_two_elements_in_other_places_show(
    cut: tuple[torch.Tensor, int, int, list[int]], data: st.DataObject
) -> None:
    whole = cut[0].contiguous()
    expected = n6.digest_tensor(whole)
    as_bytes = whole.clone().reshape(-1).view(torch.uint8)
    bit = data.draw(st.integers(0, 8 * len(as_bytes) - 1))
    as_bytes[bit // 8] ^= 1 << bit % 8
    assert n6.digest_tensor(as_bytes.view(whole.dtype).view(whole.shape)) != expected
    flat = whole.reshape(-1)
    order = data.draw(st.permutations(range(len(flat))))
    moved = flat[order]
    assert (n6.digest_tensor(moved) == n6.digest_tensor(flat)) == torch.equal(moved, flat)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_tensors(), st.data())
def test_no_layout_shows(cut: tuple[torch.Tensor, int, int, list[int]], data: st.DataObject) -> None:
    whole = cut[0]
    order = data.draw(st.permutations(range(whole.dim())))
    back = [order.index(dim) for dim in range(whole.dim())]
    elsewhere = whole.permute(order).contiguous().permute(back)  # the same content in another order of memory
    assert n6.digest_tensor(elsewhere) == n6.digest_tensor(whole)
    padded = torch.zeros([size * 2 for size in whole.shape], dtype=whole.dtype)
    strided = padded[tuple(slice(0, None, 2) for _ in whole.shape)]
    strided.copy_(whole)
    assert n6.digest_tensor(strided) == n6.digest_tensor(whole)
    expanded = whole.unsqueeze(0).expand(3, *whole.shape)
    assert n6.digest_tensor(expanded) == n6.digest_tensor(expanded.clone())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=4, max_size=4), max_size=64), st.integers(0, 64))
def test_shards_add_up(content: list[bytes], cut: int) -> None:
    array = np.frombuffer(b"".join(content), dtype="<u4")
    cut = min(cut, len(array))
    left, right = n6_numpy.sums(array[:cut], 0), n6_numpy.sums(array[cut:], cut)
    assert n6_numpy.sums(array, 0) == tuple((x + y) % 2**64 for x, y in zip(left, right, strict=True))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=16, max_size=16), min_size=2, max_size=20, unique=True), st.randoms())
def test_order_blind_sees_content_alone(rows: list[bytes], random: object) -> None:
    shuffled = rows[1:] + rows[:1]
    assert n6.order_blind(shuffled) == n6.order_blind(rows)
    assert n6.digest_rows(shuffled) != n6.digest_rows(rows)
    assert n6.order_blind(rows[1:]) != n6.order_blind(rows)
    assert n6.order_blind([*rows, rows[0]]) != n6.order_blind(rows)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1, 7, 8, 15, 16, 17, 33, 16_400])
def test_odd_lengths_and_addresses(dtype: torch.dtype, length: int) -> None:
    whole = (torch.arange(length + 3) * 37 % 251).to(dtype)
    for offset in (0, 1, 3):
        part = whole[offset : offset + length]
        assert n6.digest_tensor(part) == struct.pack("<QQ", *n6_torch.sums(n6.as_integers(part), 0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
def test_nothing_is_read_past_the_end(dtype: torch.dtype) -> None:
    """The content ends where the process may read no further: one byte more would be a SIGSEGV."""
    page = mmap.PAGESIZE
    held = mmap.mmap(-1, 3 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    assert mprotect(ctypes.c_void_p(address + 2 * page), ctypes.c_size_t(page), 0) == 0  # PROT_NONE
    held[: 2 * page] = bytes(i * 37 % 251 for i in range(2 * page))
    for length in [*range(1, 70), 2 * page // dtype.itemsize]:
        offset = 2 * page - length * dtype.itemsize
        part = torch.frombuffer(held, dtype=dtype, count=length, offset=offset)
        copied = torch.frombuffer(bytearray(held[offset : 2 * page]), dtype=dtype)
        expected = struct.pack("<QQ", *n6_torch.sums(n6.as_integers(copied), 0))
        assert n6.digest_tensor(part) == expected
        assert n6.digest_tensors([part]) == [expected]


@pytest.mark.parametrize("form", kernel.FORMS, indirect=True)  # the reference has no threads
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_of_a_team_take_all_pieces_once(threads: int) -> None:
    assert n6.KERNEL is not None
    parallel = openmp.entry(torch)
    assert parallel is not None, "this torch has no OpenMP"
    sizes = (0, 1, 16_383, 16_384, 16_385, 8 * 16_384, 1_000_003)
    tensors = [torch.arange(size) % 251 for size in sizes] + [torch.arange(size).to(torch.bfloat16) for size in sizes]
    alone = [n6.digest_tensor(tensor, 7) for tensor in tensors], n6.digest_tensors(tensors)
    n6.KERNEL.share(parallel, threads)
    for _ in range(20):
        assert ([n6.digest_tensor(tensor, 7) for tensor in tensors], n6.digest_tensors(tensors)) == alone


def test_a_kernel_of_another_source_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "INTERFACE", kernel.INTERFACE + 1)
    assert kernel.load() is None


def test_row_digests_start_at_zero_in_each_row() -> None:
    rows = torch.arange(3 * 40_000, dtype=torch.float32).view(3, 40_000)
    assert n6.digest_rows_tensor(rows) == tuple(n6.digest_tensor(row) for row in rows)
    assert n6.digest_rows_array(rows.numpy()) == n6.digest_rows_tensor(rows)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.empty(3, device="meta"),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    ],
)
def test_what_has_no_digest_reports_it(tensor: torch.Tensor) -> None:
    with pytest.raises(n6.NoDigestError):
        n6.digest_tensor(tensor)


def test_many_tensors_at_once_are_the_same_as_one_by_one() -> None:
    tensors = [tensor for tensor, first, _ in VECTORS if first == 0]
    tensors += [torch.ones(2, 3).t(), torch.empty(0), torch.complex(torch.ones(3), torch.ones(3)).conj().imag]
    tensors += [(torch.arange(33) % 7).to(kind) for kind in (torch.bool, torch.float64, torch.float8_e4m3fn)]
    assert n6.digest_tensors(tensors) == [n6.digest_tensor(tensor) for tensor in tensors]
    assert n6.digest_tensors([]) == []
    sparse, dense = n6.digest_tensors([torch.eye(3).to_sparse(), torch.ones(2)])
    assert isinstance(sparse, n6.NoDigestError)
    assert dense == n6.digest_tensor(torch.ones(2))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 100])
def test_rows_fold_as_they_are_defined(count: int) -> None:
    rows = [n6.digest_tensor(torch.tensor([row])) for row in range(count)]
    flat = [word for row in rows for word in struct.unpack("<4I", row)]
    for index_of, folded in ((lambda i: i, n6.digest_rows(rows)), (lambda i: i % 4, n6.order_blind(rows))):
        lanes = [n6._word(index_of(i), word) for i, word in enumerate(flat)]
        assert struct.unpack("<QQ", folded) == tuple(sum(lane[side] for lane in lanes) % 2**64 for side in (0, 1))
