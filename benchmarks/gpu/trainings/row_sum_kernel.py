"""Sums each row in Triton. The block size decides the order of the additions."""

# no `from __future__ import annotations`: Triton reads the annotations `tl.constexpr` as objects
import triton
import triton.language as tl


@triton.jit
def row_sum_kernel(x, out, columns, BLOCK: tl.constexpr):  # noqa: N803 - as Triton's own examples write it
    row = tl.program_id(0)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(x + row * columns + at, mask=at < columns, other=0.0)
    tl.store(out + row, tl.sum(total, 0))
