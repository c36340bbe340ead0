"""Hashes records, and folds a step into its digest, sum and chain: the one definition, for probe and agent.

A record hash covers the compared fields and nothing else: site, occurrence, dtype, shape, digest and order-blind digest.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Optional, Sequence

MASK = (1 << 64) - 1
ZERO = bytes(16)
WAITING_BYTES_MAX = 1 << 14
_LANES = struct.Struct("<QQ")


def record_hash(
    site: str, occurrence: int, dtype: str, shape: Sequence[int], digest: bytes, order_blind: Optional[bytes] = None
) -> bytes:
    """16 bytes over the compared fields of one record."""
    head = hash_head(site, occurrence, dtype, shape)
    return blake2b(head + digest + (order_blind or b""), digest_size=16).digest()


def hash_head(site: str, occurrence: int, dtype: str, shape: Sequence[int]) -> bytes:
    """What a record hash covers before the digests; the same for a site at each step, so the recorder keeps it."""
    head = "%s\0%d\0%s\0%s\0" % (site, occurrence, dtype, ",".join(map(str, shape)))
    return head.encode("utf-8", "surrogateescape")


def add(left: bytes, right: bytes) -> bytes:
    """Sum of two 16-byte values as two 64-bit lanes, modulo 2^64 each."""
    a, b = _LANES.unpack(left)
    c, d = _LANES.unpack(right)
    return _LANES.pack((a + c) & MASK, (b + d) & MASK)


class StepFold:
    """Folds the record hashes of one step of one stream, in program order. count: how many."""

    __slots__ = ("_a", "_b", "_ordered", "_waiting", "count")

    def __init__(self) -> None:
        self.count = 0
        self._a = 0
        self._b = 0
        self._ordered = blake2b(digest_size=16)
        self._waiting = bytearray()  # folded many at a time: a hash alone costs three times as much

    def take(self, hash_: bytes) -> None:
        """Adds one record hash (16 bytes)."""
        self.count += 1
        self._waiting += hash_
        if len(self._waiting) >= WAITING_BYTES_MAX:
            self._fold()

    @property
    def digest(self) -> bytes:
        """16 bytes, depends on the order of records."""
        self._fold()
        return self._ordered.digest()

    @property
    def sum(self) -> bytes:
        """16 bytes, blind to the order of records."""
        self._fold()
        return _LANES.pack(self._a, self._b)

    def _fold(self) -> None:
        waiting = self._waiting
        if waiting:
            lanes = struct.unpack("<%dQ" % (len(waiting) // 8), waiting)
            self._a = (self._a + sum(lanes[::2])) & MASK
            self._b = (self._b + sum(lanes[1::2])) & MASK
            self._ordered.update(waiting)
            self._waiting = bytearray()


def chain(before: bytes, step: int, digest: bytes) -> bytes:
    """16 bytes: the chain of a stream after `step`; the first `before` is ZERO."""
    return blake2b(before + struct.pack("<I", step) + digest, digest_size=16).digest()
