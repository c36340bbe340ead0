"""Files of safetensors: 8 bytes length, a JSON header, then the tensors' bytes.

They are read here, since environments with torch often lack the library. The format:
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import functools
import json
import math
import mmap
import os
import struct
from typing import Any, BinaryIO, Callable, Dict, List, Tuple

from detctl_checkpoints.content import Checkpoint, CheckpointError, Leaf, Unread

HEADER_BYTES_MAX = 100_000_000  # as the library's
DIMENSIONS_MAX = 64  # as torch's
_LENGTH = struct.Struct("<Q")
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "U16": 2, "U32": 4, "U64": 8, "BOOL": 1,
    "C64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
}  # fmt: skip


def is_one(path: str, head: bytes) -> bool:
    """Whether a file is one of safetensors, by its ending or its first bytes."""
    if path.endswith(".safetensors"):
        return True
    return len(head) >= 10 and _LENGTH.unpack(head[:8])[0] < HEADER_BYTES_MAX and head[8:10] == b'{"'


def load(path: str, stream: BinaryIO) -> Checkpoint:
    """Maps the open file; path: for messages. Raises CheckpointError if header and bytes do not fit."""
    size = os.fstat(stream.fileno()).st_size
    head = stream.read(8)
    length = _LENGTH.unpack(head)[0] if len(head) == 8 else 0
    if not 0 < length <= min(HEADER_BYTES_MAX, size - 8):
        raise CheckpointError("%s: not a safetensors file, or cut: its header would have %d bytes" % (path, length))
    try:
        pairs = json.loads(stream.read(length).decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
        rows = {name: _row(row) for name, row in pairs.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError("%s: its header is not a safetensors header" % path) from None
    start = 8 + length
    # The library demands it too: tensors lie one behind the other and fill the file, so no byte is read twice or hidden.
    covered = 0
    for name, (dtype, shape, begin, end) in sorted(rows.items(), key=lambda row: row[1][2:]):
        if end > size - start:
            raise CheckpointError("%s: damaged or cut: %s lies beyond its end" % (path, name[:200]))
        if begin != covered:
            raise CheckpointError("%s: damaged: %s does not begin where the tensor before it ends" % (path, name[:200]))
        if dtype in _BYTES and math.prod(shape) * _BYTES[dtype] != end - begin:
            raise CheckpointError(
                "%s: damaged: %s has %d bytes for shape %s of %s" % (path, name[:200], end - begin, shape, dtype)
            )
        covered = end
    if covered != size - start:
        raise CheckpointError("%s: damaged: its last %d bytes belong to no tensor" % (path, size - start - covered))
    # torch needs memory that it could write.
    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    leaves: Dict[str, Callable[[], Leaf]] = {
        name: functools.partial(_tensor, content, dtype, shape, start + begin, end - begin)
        for name, (dtype, shape, begin, end) in rows.items()
    }
    return Checkpoint(path, "safetensors", leaves)


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """A JSON object without duplicate keys, of which readers would choose different ones. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError("%s is not JSON" % text)


def _row(row: Any) -> Tuple[str, List[int], int, int]:
    (begin, end), shape, dtype = row["data_offsets"], list(row["shape"]), row["dtype"]
    if not isinstance(dtype, str) or len(shape) > DIMENSIONS_MAX:
        raise ValueError("no row of a tensor")
    for number in (begin, end, *shape):
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise ValueError("%r is not a size" % number)
    if begin > end:
        raise ValueError("it ends before it begins")
    return dtype, shape, begin, end


def _tensor(content: mmap.mmap, dtype: str, shape: List[int], offset: int, size: int) -> Leaf:
    import torch

    kind = getattr(torch, _DTYPES.get(dtype, ""), None)
    if kind is None:
        return Unread("dtype %s, which this torch does not have" % dtype)
    count = math.prod(shape)
    if count * kind.itemsize != size:
        return Unread("%d bytes for shape %s of %s" % (size, shape, dtype))
    if not count:
        return torch.empty(shape, dtype=kind)
    raw = torch.frombuffer(content, dtype=torch.uint8, count=size, offset=offset)
    if offset % kind.itemsize:  # a tensor may begin anywhere in the file
        raw = raw.clone()
    return raw.view(kind).reshape(shape)
