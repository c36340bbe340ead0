"""Checks that digests on the device equal those of the CPU for every dtype and layout, and measures their speed.

Without a GPU, Triton's interpreter runs the kernel.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

from checks import Check, Figures, NotApplicableError, Part, Place, expect

DTYPES = (
    "bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "bf16", "float32", "float64",
    "complex32", "complex64", "complex128", "float8-e4m3fn", "float8-e5m2", "float8-e4m3fnuz", "float8-e5m2fnuz", "float8-e8m0fnu",
)  # fmt: skip
SIZES = {"256 KB": 1 << 18, "4 MB": 1 << 22, "100 MB": 100 << 20, "1 GB": 1 << 30}
FAST = ("float32", "bf16", "float8-e4m3fn")
SHARE_MIN = 0.1  # share of a plain read at 100 MB and above, fp32; a lower share means that the kernel is wrong
REPEATS = 7


def torch_dtype(name: str) -> Any:
    """Returns the dtype in a check's name. Raises NotApplicableError if this torch lacks it."""
    import torch

    word = {"bf16": "bfloat16"}.get(name, name.replace("-", "_"))
    found = getattr(torch, word, None)
    if found is None:
        raise NotApplicableError(f"torch {torch.__version__} has no {word}")
    return found


@cache
def prepared(device: str) -> str:
    """Prepares digests on this device, and returns in a word how they are computed. Raises NotApplicableError without Triton."""
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
    try:
        import triton  # noqa: F401 - imported only to see whether it exists
    except ImportError as error:
        raise NotApplicableError(f"no Triton: {error}") from error
    from detctl_probe.digest import device_digests

    device_digests.interpreted = device == "cpu"
    return "Triton's interpreter" if device == "cpu" else "Triton"


def taken(tensors: Sequence[Any], first_index: int = 0) -> list[Any]:
    """Returns digests of tensors on the device, after waiting for them; a NoDigestError for a tensor without one."""
    from detctl_probe.digest import device_digests, pending

    device = device_digests.of(tensors[0])
    expect(
        device is not None,
        "the kernel cannot be had on this device: see the line that the probe wrote to standard error",
    )
    made = device.submit(tensors, first_index)  # type: ignore[union-attr]  # expect has raised
    pending.mark()
    for one in made:
        if isinstance(one, pending.Pending):
            one.batch.wait()
    return [one.value() if isinstance(one, pending.Pending) else one for one in made]


def laid_out(flat: Any) -> Iterator[tuple[str, Any]]:
    """Returns several layouts of a flat tensor of 2520 elements."""
    import torch

    cube = flat.reshape(6, 5, 7, 12)
    yield "contiguous", cube
    yield "transposed", cube.transpose(1, 3)
    yield "strided", cube[::2, :, 1::3]
    yield "sliced", cube[1:3, 2:]
    yield "unaligned", flat[3:]
    yield "expanded", flat[:5].reshape(5, 1).expand(5, 4)
    yield "0-dim", flat[7]
    yield "empty", flat[:0]
    yield "one block", flat[:1024]
    if flat.dtype not in (torch.complex32,):
        yield "channels-last", cube.to(memory_format=torch.channels_last)
        if flat.is_complex():
            yield "conjugate", flat.conj()
            yield "negative", flat.conj().imag


def equals_cpu(name: str, place: Place) -> Figures:
    """Compares the digest of each layout on the device with the reference on the CPU."""
    import torch
    from detctl_probe.digest import n6

    how = prepared(place.device)
    dtype = torch_dtype(name)
    flat = (torch.arange(2520) % 113).to(torch.float32).to(dtype)
    names, tensors = zip(*laid_out(flat.to(place.device)), strict=True)
    expected = [n6.digest_tensor(tensor) for _, tensor in laid_out(flat)]
    wrong = [layout for layout, made, right in zip(names, taken(tensors), expected, strict=True) if made != right]
    expect(not wrong, f"other digests than the CPU's for {', '.join(wrong)}", {"wrong": wrong})
    return {"layouts": len(names), "by": how}


def large_copies(place: Place) -> Figures:
    """Checks a tensor that must be copied in several pieces."""
    import torch
    from detctl_probe.digest import device_digests, n6

    prepared(place.device)
    if not place.cuda:
        device_digests.COPY_BYTES_MAX = 4096
    shape = (16, 64, 112, 113) if place.cuda else (4, 8, 9, 11)
    try:
        plain = torch.randn(shape)
        made = taken([plain.to(place.device).to(memory_format=torch.channels_last)])
        expect(made == [n6.digest_tensor(plain)], "another digest than the CPU's for a large channels_last tensor")
    finally:
        device_digests.COPY_BYTES_MAX = 1 << 24
    return {"bytes": plain.numel() * 4}


def beyond_2_31(place: Place) -> Figures:
    """Checks a tensor of more than 2^31 elements against the sum over its parts, and its end against the CPU's digest at that index."""
    import struct

    import torch
    from detctl_probe.digest import n6

    prepared(place.device)
    count = (1 << 31) + (1 << 20) + 3
    if torch.cuda.mem_get_info()[0] < 2 * count:
        raise NotApplicableError("less than 4 GB of device memory are free")
    whole = torch.randint(0, 256, (count,), dtype=torch.uint8, device=place.device)
    edges = [0, 1 << 30, (1 << 31) - 5, (1 << 31) + 4099, count]
    lanes = [0, 0]
    for start, end in pairwise(edges):
        for lane, value in enumerate(struct.unpack("<QQ", taken([whole[start:end]], start)[0])):
            lanes[lane] = (lanes[lane] + value) % (1 << 64)
    expect(taken([whole]) == [struct.pack("<QQ", *lanes)], "the digest of 2^31 elements is not the sum of its parts'")
    far = whole[edges[2] : edges[3]]
    expect(taken([far], edges[2]) == [n6.digest_tensor(far.cpu(), edges[2])], "other digests around element 2^31")
    return {"elements": count}


def flips(place: Place) -> Figures:
    """Checks that each single bit of an element changes the digest."""
    import torch

    prepared(place.device)
    tensors = [torch.ones(2000)]
    for bit in range(32):
        flipped = torch.ones(2000)
        flipped.view(torch.int32)[1500] ^= (1 << bit) - (1 << 32 if bit == 31 else 0)
        tensors.append(flipped)
    expect(
        len(set(taken([tensor.to(place.device) for tensor in tensors]))) == 33,
        "a flipped bit left the digest as it was",
    )
    return {"bits": 32}


def seconds_each(work: Callable[[], Any], calls: int) -> float:
    """Returns the median seconds per call on the device, from events around `calls` of them."""
    import torch

    work()
    found = []
    for _ in range(REPEATS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / 1000 / calls)
    return statistics.median(found)


def filled(name: str, size: int) -> Any:
    """Returns random content of `size` bytes on the device. The bytes need not be valid numbers."""
    import torch

    return torch.randint(0, 256, (size,), dtype=torch.uint8, device="cuda:0").view(torch_dtype(name))


def kernel_of(tensors: Sequence[Any]) -> Callable[[], None]:
    """Returns one launch over these tensors, whose table is already on the device."""
    import torch
    from detctl_probe.digest import n6_triton
    from detctl_probe.digest.device_rows import row_of
    from detctl_probe.digest.n6 import as_integers

    rows = [row_of(as_integers(tensor), 0) for tensor in tensors]
    table = torch.tensor(rows, dtype=torch.int64, device="cuda:0")
    sums = torch.zeros(len(rows), 2, dtype=torch.int64, device="cuda:0")
    return partial(n6_triton.add_sums, table, sums, rows)


def bandwidth(name: str, place: Place) -> Figures:
    """Returns GB/s by size, and the share of a plain read of the same bytes (torch's sum of int32) in the same run."""
    import torch

    prepared(place.device)
    figures: dict[str, Any] = {}
    for label, size in SIZES.items():
        if torch.cuda.mem_get_info()[0] < 3 * size:
            continue
        tensor, calls = filled(name, size), max(3, min(200, (1 << 28) // size))
        integers = tensor.view(torch.int32)
        read_s = seconds_each(lambda integers=integers: integers.sum(dtype=torch.int32), calls)
        other = torch.empty_like(integers)
        copy_s = seconds_each(lambda integers=integers, other=other: other.copy_(integers), calls)
        kernel_s = seconds_each(kernel_of([tensor]), calls)
        figures[label] = {
            "read_gb_s": round(size / read_s / 1e9, 1), "copy_gb_s": round(2 * size / copy_s / 1e9, 1),
            "digest_gb_s": round(size / kernel_s / 1e9, 1), "share_of_read": round(read_s / kernel_s, 3),
        }  # fmt: skip
    large = [row["share_of_read"] for label, row in figures.items() if SIZES[label] >= 100 << 20]
    if name == "float32" and large:
        expect(min(large) >= SHARE_MIN, f"less than {SHARE_MIN:.0%} of a plain read at 100 MB and above", figures)
    summary = {f"share at {label}": row["share_of_read"] for label, row in figures.items()}
    return {**summary, "sizes": figures}


def many(count: int, place: Place) -> Figures:
    """Compares one launch for a list of tensors, as models have them, with one launch for each tensor and with the whole submission."""
    import torch
    from detctl_probe.digest import device_digests, pending

    prepared(place.device)
    sizes = [1 << (10 + number % 12) for number in range(count)]
    tensors = [torch.randn(size, device=place.device) for size in sizes]
    total = 4 * sum(sizes)
    joined = torch.randn(total // 4, device=place.device)
    kernel_s = seconds_each(kernel_of(tensors), 20)
    read_s = seconds_each(lambda: joined.view(torch.int32).sum(dtype=torch.int32), 20)

    def submitted() -> None:
        device_digests.submit(tensors)
        pending.mark()

    whole_s = seconds_each(submitted, 5)
    taken(tensors[:1])
    return {
        "bytes": total, "digest_gb_s": round(total / kernel_s / 1e9, 1), "share_of_read": round(read_s / kernel_s, 3),
        "submission_us": round(whole_s * 1e6, 1),
    }  # fmt: skip


PART = Part(
    "digest",
    "digests on the device against the CPU's, and their bandwidth",
    seconds=75,
    cpu_seconds=150,
    checks=(
        *(Check(f"digest.equals-cpu.{name}", partial(equals_cpu, name), on_cpu=True) for name in DTYPES),
        Check("digest.large-copies", large_copies, on_cpu=True),
        Check("digest.every-bit", flips, on_cpu=True),
        Check("digest.beyond-2-31", beyond_2_31),
        *(Check(f"digest.bandwidth.{name}", partial(bandwidth, name)) for name in FAST),
        *(Check(f"digest.list-of-{count}", partial(many, count)) for count in (62, 500)),
    ),
)
