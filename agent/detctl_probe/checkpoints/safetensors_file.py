"""Files of safetensors: 8 bytes length, a JSON header, then the tensors' bytes. Read here, since the library is often not where torch is.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import functools
import json
import mmap
import os
import struct
from typing import Any, Callable, Dict, List, Tuple

from detctl_probe.checkpoints.content import Checkpoint, CheckpointError, Leaf, Unread

HEADER_BYTES_MAX = 100_000_000  # as the library's
_LENGTH = struct.Struct("<Q")
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def is_one(path: str) -> bool:
    """By its ending or by its first bytes."""
    if path.endswith(".safetensors"):
        return True
    with open(path, "rb") as stream:
        head = stream.read(10)
    return len(head) == 10 and _LENGTH.unpack(head[:8])[0] < HEADER_BYTES_MAX and head[8:] == b'{"'


def load(path: str) -> Checkpoint:
    """Maps the file; raises CheckpointError where header and bytes do not fit."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(8)
        length = _LENGTH.unpack(head)[0] if len(head) == 8 else 0
        if not 0 < length <= min(HEADER_BYTES_MAX, size - 8):
            raise CheckpointError("%s: no safetensors file, or cut: its header would have %d bytes" % (path, length))
        try:
            header: Dict[str, Any] = json.loads(stream.read(length).decode("utf-8"))
            rows = {name: _row(row) for name, row in header.items() if name != "__metadata__"}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointError("%s: its header is no safetensors header" % path) from None
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants memory that it could write
    start = 8 + length
    leaves: Dict[str, Callable[[], Leaf]] = {}
    for name, (dtype, shape, begin, end) in rows.items():
        if not 0 <= begin <= end <= size - start:
            raise CheckpointError("%s: damaged or cut: %s lies beyond its end" % (path, name))
        leaves[name] = functools.partial(_tensor, content, dtype, shape, start + begin, end - begin)
    return Checkpoint(path, "safetensors", leaves)


def _row(row: Any) -> Tuple[str, List[int], int, int]:
    begin, end = (int(offset) for offset in row["data_offsets"])
    shape = [int(length) for length in row["shape"]]
    if min(shape, default=0) < 0:
        raise ValueError("a negative length")
    return str(row["dtype"]), shape, begin, end


def _tensor(content: mmap.mmap, dtype: str, shape: List[int], offset: int, size: int) -> Leaf:
    import torch

    kind = getattr(torch, _DTYPES.get(dtype, ""), None)
    if kind is None:
        return Unread("dtype %s, which this torch does not have" % dtype)
    count = 1
    for length in shape:
        count *= length
    if count * kind.itemsize != size:
        return Unread("%d bytes for shape %s of %s" % (size, shape, dtype))
    if not count:
        return torch.empty(shape, dtype=kind)
    raw = torch.frombuffer(content, dtype=torch.uint8, count=size, offset=offset)
    if offset % kind.itemsize:  # a tensor may begin anywhere in the file
        raw = raw.clone()
    return raw.view(kind).reshape(shape)
