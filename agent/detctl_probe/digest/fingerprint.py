"""The fingerprint of a value: the compared fields of a record."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple


class Fingerprint(NamedTuple):
    """digest: 16 bytes of n6.v1 over a tensor's logical content, blake2b-16 over the canonical bytes of anything else (the
    dtype shows which: `float32`, `py:str`, `py:list`). order_blind: 16 bytes, the same for the same rows in any order. rows: 16 bytes each.
    sketch: 38 doubles (sketch.py). Digest and sketch of a tensor on a device are Pending until the step's results arrive. All others are
    picklable: they travel with a batch through a worker's queue."""

    digest: bytes
    dtype: str
    shape: Tuple[int, ...] = ()
    order_blind: Optional[bytes] = None
    rows: Optional[Tuple[bytes, ...]] = None
    sketch: Optional[Tuple[float, ...]] = None
