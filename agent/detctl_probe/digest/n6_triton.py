"""n6.v1 for CUDA in Triton: the digests of a list of tensors in one launch, without a sync.

Imported only to digest a CUDA tensor (Triton comes with torch there); tests run it in Triton's interpreter. Each row of
a table is a tensor; several programs walk a tensor in chunks, without masks but for its last chunk, and add their two lanes to the row's
slot by relaxed 64-bit atomics. Integer addition commutes, so the order of threads does not matter.
"""

# no `from __future__ import annotations`: Triton reads the annotations `tl.constexpr` as objects
from typing import Any, Sequence, Tuple

import triton
import triton.language as tl

BLOCK = 1024
ROW = 4  # address, words, width in bytes (1, 2 or 4), first index: int64 each
PROGRAMS_MAX = 512  # a row; a large tensor's programs take several chunks each


@triton.jit
def _mixed(x, index):
    """Both lanes of words x (uint64) at their indices (uint64): the definition in digest.py."""
    k = index * 0x9E3779B97F4A7C15 + 0x243F6A8885A308D3
    p = ((k & 0xFFFFFFFF) ^ x) * ((k >> 32) | 1) + k
    high = p >> 32
    low = (p & 0xFFFFFFFF) ^ high
    r = low * 0x9E3779B1 + (high | (low << 32))
    h = r >> 32
    return r ^ h, (r & 0xFFFFFFFF) * h


@triton.jit
def _walk(data, count, first, out, BLOCK: tl.constexpr, ALIGNED: tl.constexpr):
    lane = tl.program_id(1)
    lanes = tl.num_programs(1)
    offsets = tl.arange(0, BLOCK)
    a = tl.zeros([BLOCK], tl.uint64)
    b = tl.zeros([BLOCK], tl.uint64)
    chunks = count // BLOCK
    chunk = lane.to(tl.int64)
    while chunk < chunks:
        at = chunk * BLOCK + offsets
        places = data + at
        if ALIGNED:  # wide loads
            places = tl.max_contiguous(tl.multiple_of(places, 16), BLOCK)
        more_a, more_b = _mixed(tl.load(places).to(tl.uint64), (first + at).to(tl.uint64))
        a += more_a
        b += more_b
        chunk += lanes
    if chunk == chunks:  # the one program whose turn the rest is
        at = chunk * BLOCK + offsets
        there = at < count
        more_a, more_b = _mixed(tl.load(data + at, mask=there, other=0).to(tl.uint64), (first + at).to(tl.uint64))
        a += tl.where(there, more_a, 0)
        b += tl.where(there, more_b, 0)
    tl.atomic_add(out, tl.sum(a, 0).to(tl.int64, bitcast=True), sem="relaxed")
    tl.atomic_add(out + 1, tl.sum(b, 0).to(tl.int64, bitcast=True), sem="relaxed")


@triton.jit
def _sums(table, out, BLOCK: tl.constexpr, ALIGNED: tl.constexpr):
    row = tl.program_id(0)
    address = tl.load(table + row * 4)
    count = tl.load(table + row * 4 + 1)
    width = tl.load(table + row * 4 + 2)
    first = tl.load(table + row * 4 + 3)
    if tl.program_id(1).to(tl.int64) * BLOCK < count:
        if width == 4:
            _walk(address.to(tl.pointer_type(tl.uint32)), count, first, out + row * 2, BLOCK, ALIGNED)
        elif width == 2:
            _walk(address.to(tl.pointer_type(tl.uint16)), count, first, out + row * 2, BLOCK, ALIGNED)
        else:
            _walk(address.to(tl.pointer_type(tl.uint8)), count, first, out + row * 2, BLOCK, ALIGNED)


def add_sums(table: Any, out: Any, rows: Sequence[Tuple[int, int, int, int]]) -> None:
    """Adds the lanes of each row's tensor to `out`.

    table: int64 (rows, 4) on the device, of address, count of words, bytes a word and first index; out: int64 (rows, 2) on it;
    rows: the contents of the table, on the host.
    """
    words = max(row[1] for row in rows)
    programs = max(1, min(PROGRAMS_MAX, -(-words // BLOCK)))
    _sums[(len(rows), programs)](table, out, BLOCK=BLOCK, ALIGNED=all(row[0] % 16 == 0 for row in rows))
