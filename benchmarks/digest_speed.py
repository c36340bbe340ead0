"""Measures how fast each form of the digest n6.v1 reads memory, beside a plain read of the same memory in the same run, on one thread:

    python benchmarks/digest_speed.py [--seconds 0.15] [--forms avx512-vpmullq avx512 avx2 scalar numpy]

The table shows GB/s, and in brackets the share of the plain read. The plain read is a sum over the same bytes as int64, by torch or
numpy, whichever is faster. Each figure is the best of several rounds. All sides take turns in a round, so that other load slows all of
them. The row of 62 tensors has the sizes of a ResNet-18's parameters (47 MB), in one call of the kernel. The kernel takes a constant
number of instructions for each element. So if memory is not the limit, two-byte types reach half the bytes per second of fp32, and
one-byte types reach a quarter.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agent"))

import numpy
import torch
from detctl_probe.digest import kernel, n6_numpy

SIZES = {"4 KB": 4 << 10, "256 KB": 256 << 10, "4 MB": 4 << 20, "100 MB": 100 << 20}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "uint8": torch.uint8}
ROUNDS = 5


def tensors_of(size: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Returns one tensor of `size` bytes, with content that no form can skip."""
    content = torch.arange(size // 8, dtype=torch.int64) * 0x9E3779B97F4A7C1
    return [content.view(torch.uint8).view(dtype)]


def resnet18(dtype: torch.dtype) -> list[torch.Tensor]:
    """Returns 62 tensors with the byte sizes of a ResNet-18's parameters in fp32."""
    widths, sizes = (64, 128, 256, 512), [3 * 64 * 49, 64, 64]
    before = 64
    for width in widths:
        for block in range(2):
            sizes += [before * width * 9, width, width, width * width * 9, width, width]
            if block == 0 and before != width:
                sizes += [before * width, width, width]
            before = width
    sizes += [512 * 1000, 1000]
    assert len(sizes) == 62
    return [tensor for size in sizes for tensor in tensors_of(4 * size // 8 * 8, dtype)]


def plain_reads(tensors: Sequence[torch.Tensor]) -> list[Callable[[], object]]:
    """Returns calls that add up the same bytes as 64-bit integers."""
    views = [tensor.view(torch.int64) for tensor in tensors]
    arrays = [view.numpy() for view in views]
    return [lambda: [view.sum() for view in views], lambda: [a.sum() for a in arrays]]


def form(name: str, tensors: Sequence[torch.Tensor]) -> Callable[[], object] | None:
    """Returns a call that digests all of them, or None if this CPU lacks the form."""
    if name == "numpy":
        integers = [n6_numpy.words_of(tensor.view(torch.uint8).numpy().view(_unsigned(tensor))) for tensor in tensors]
        return lambda: [n6_numpy.sums(one, 0) for one in integers]
    os.environ["DETCTL_KERNEL"] = name
    loaded = kernel.load()
    if loaded is None or loaded.form != name:
        return None
    table = array("Q")
    for tensor in tensors:
        table.extend((tensor.data_ptr(), tensor.numel(), tensor.element_size(), 0))
    return lambda: loaded.many(table)


def _unsigned(tensor: torch.Tensor) -> numpy.dtype[numpy.generic]:
    return numpy.dtype(f"u{tensor.element_size()}")


def best_times(sides: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Returns the seconds per call of each side: the best of ROUNDS, in which the sides take turns."""
    times = [float("inf")] * len(sides)
    for _ in range(ROUNDS):
        for place, side in enumerate(sides):
            calls, begin = 0, time.perf_counter()
            while (spent := time.perf_counter() - begin) < seconds / ROUNDS or not calls:
                side()
                calls += 1
            times[place] = min(times[place], spent / calls)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.15, help="for each figure")
    parser.add_argument("--forms", nargs="+", default=[*reversed(kernel.FORMS), "numpy"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':8}{'':10}{'plain read':>12}" + "".join(f"{name:>16}" for name in options.forms))
    for dtype_name, dtype in DTYPES.items():
        for size_name in (*SIZES, "62 tensors"):
            tensors = resnet18(dtype) if size_name == "62 tensors" else tensors_of(SIZES[size_name], dtype)
            total = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            reads = plain_reads(tensors)
            forms = [form(name, tensors) for name in options.forms]
            there = [call for call in forms if call is not None]
            times = best_times([*reads, *there], options.seconds)
            plain = min(times[: len(reads)])
            left = iter(times[len(reads) :])
            cells = [
                f"{total / t / 1e9:.1f} ({plain / t:.2f})" if call and (t := next(left)) else "-" for call in forms
            ]
            print(
                f"{dtype_name:8}{size_name:10}{total / plain / 1e9:>12.1f}" + "".join(f"{cell:>16}" for cell in cells)
            )


if __name__ == "__main__":
    main()
