"""The log of a recording, which the agent writes and the command line reads too: segments and seals as protobuf messages.

MAGIC, then records: u32 length, u32 CRC-32 over the four length bytes and the payload, payload; integers are little-endian. The first
record that is cut or fails its CRC ends the log: nothing behind it may be used. Standard library alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from detctl_proto.limits import MESSAGE_BYTES_MAX

MAGIC = b"DETCTL\x00\x01"
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<II")


def pack_record(payload: bytes) -> bytes:
    """One record of the log. Raises ValueError for a payload that no message may have."""
    if len(payload) > MESSAGE_BYTES_MAX:
        raise ValueError(f"message of {len(payload)} bytes, at most {MESSAGE_BYTES_MAX}")
    return _HEAD.pack(len(payload), _checksum(payload)) + payload


def read_records(log: BinaryIO, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """(payload, position after it) of each usable record from position `start` on; 0: from the first."""
    if log.read(len(MAGIC)) != MAGIC:
        return
    position = log.seek(max(start, len(MAGIC)))
    while len(head := log.read(_HEAD.size)) == _HEAD.size:
        length, crc = _HEAD.unpack(head)
        if length > MESSAGE_BYTES_MAX:
            return
        payload = log.read(length)
        if len(payload) < length or _checksum(payload) != crc:
            return
        position += _HEAD.size + length
        yield payload, position


def _checksum(payload: bytes) -> int:
    """The CRC covers the length too, so that a flipped length is found."""
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))
