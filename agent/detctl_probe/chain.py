"""The hash of a record, the digest, sum and chain of a step: the one definition, for probe and agent.

A record hash covers what is compared and nothing else: site, occurrence, dtype, shape, digest and order-blind digest.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Optional, Sequence

MASK = (1 << 64) - 1
ZERO = bytes(16)
_LANES = struct.Struct("<QQ")


def record_hash(
    site: str, occurrence: int, dtype: str, shape: Sequence[int], digest: bytes, order_blind: Optional[bytes] = None
) -> bytes:
    """16 bytes over the compared fields of one record."""
    head = "%s\0%d\0%s\0%s\0" % (site, occurrence, dtype, ",".join(map(str, shape)))
    return blake2b(head.encode("utf-8", "surrogateescape") + digest + (order_blind or b""), digest_size=16).digest()


def add(left: bytes, right: bytes) -> bytes:
    """Sum of two 16-byte values as two 64-bit lanes, modulo 2^64 each."""
    a, b = _LANES.unpack(left)
    c, d = _LANES.unpack(right)
    return _LANES.pack((a + c) & MASK, (b + d) & MASK)


@dataclass
class StepFold:
    """Folds the record hashes of one step of one stream, in program order."""

    count: int = 0
    _a: int = 0
    _b: int = 0
    _ordered: "blake2b" = field(default_factory=lambda: blake2b(digest_size=16))

    def take(self, hash_: bytes) -> None:
        """Adds one record hash (16 bytes)."""
        self.count += 1
        a, b = _LANES.unpack(hash_)
        self._a = (self._a + a) & MASK
        self._b = (self._b + b) & MASK
        self._ordered.update(hash_)

    @property
    def digest(self) -> bytes:
        """16 bytes, depends on the order of records."""
        return self._ordered.digest()

    @property
    def sum(self) -> bytes:
        """16 bytes, blind to the order of records."""
        return _LANES.pack(self._a, self._b)


def chain(before: bytes, step: int, digest: bytes) -> bytes:
    """16 bytes: the chain of a stream after `step`; the first `before` is ZERO."""
    return blake2b(before + struct.pack("<I", step) + digest, digest_size=16).digest()
