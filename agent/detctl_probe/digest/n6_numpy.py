"""n6.v1 in numpy: the reference. numpy is taken from sys.modules, never imported by us."""

from __future__ import annotations

import sys
import threading
from typing import Any, Tuple

G = 0x9E3779B97F4A7C15
S0 = 0x243F6A8885A308D3
KA = 0x9E3779B1
MASK = (1 << 64) - 1

# Words a block: temporaries stay in the L2 cache (measured best of 4,096 to 262,144).
BLOCK = 16384
_UNSIGNED = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u4"}
_local = threading.local()


def words_of(array: Any) -> Any:
    """The array's logical content as a flat array of unsigned words; 8-byte items give two each, low half first."""
    np = sys.modules["numpy"]
    if array.dtype.kind not in "biufcV" or array.dtype.hasobject:
        raise ValueError("no words in an array of dtype %s" % array.dtype)
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.byteorder == ">":
        flat = flat.astype(flat.dtype.newbyteorder("<"))
    if flat.dtype.kind == "c":
        flat = flat.view("<f%d" % (flat.dtype.itemsize // 2))
    width = flat.dtype.itemsize
    if width not in _UNSIGNED:
        raise ValueError("no words in an array of dtype %s" % array.dtype)
    return flat.view(_UNSIGNED[width])


def sums(words: Any, first_index: int) -> Tuple[int, int]:
    """(sum a, sum b) modulo 2^64 of flat unsigned words, the first at logical index first_index."""
    np = sys.modules["numpy"]
    a = b = 0
    keys = _keys(np)
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        shift = np.uint64(((first_index + start) * G) & MASK)
        left, right = _lanes(np, block, keys[: len(block)] + shift)
        a += int(left.sum(dtype=np.uint64))
        b += int(right.sum(dtype=np.uint64))
    return a & MASK, b & MASK


def row_digests(rows: Any) -> Tuple[bytes, ...]:
    """16 bytes for each row of a 2-D array of unsigned words, each with the index starting at 0."""
    np = sys.modules["numpy"]
    count, width = rows.shape
    totals = np.zeros((count, 2), dtype="<u8")
    keys = _keys(np)
    tall = max(1, BLOCK // max(1, width))
    for top in range(0, count, tall):
        for start in range(0, width, BLOCK):
            block = rows[top : top + tall, start : start + BLOCK]
            shift = np.uint64((start * G) & MASK)
            left, right = _lanes(np, block, (keys[: block.shape[1]] + shift)[None, :])
            totals[top : top + tall, 0] += left.sum(axis=1, dtype=np.uint64)
            totals[top : top + tall, 1] += right.sum(axis=1, dtype=np.uint64)
    packed = totals.tobytes()
    return tuple(packed[16 * i : 16 * i + 16] for i in range(count))


def _keys(np: Any) -> Any:
    """k of the indices 0 to BLOCK - 1; another block's keys are these plus its first index times G."""
    keys = getattr(_local, "keys", None)
    if keys is None:
        keys = np.arange(BLOCK, dtype=np.uint64) * np.uint64(G) + np.uint64(S0)
        _local.keys = keys
    return keys


def _lanes(np: Any, block: Any, k: Any) -> Tuple[Any, Any]:
    low, half, one, ka = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1), np.uint64(KA)
    p = ((k & low) ^ block) * ((k >> half) | one) + k
    high = p >> half
    p ^= high  # q: its high half is p's
    low_q = p & low
    r = low_q * ka + (high | (low_q << half))
    h = r >> half
    b = (r & low) * h
    r ^= h
    return r, b
