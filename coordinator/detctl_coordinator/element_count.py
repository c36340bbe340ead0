"""Counts how many objects a protobuf message would become, from its bytes and before it is parsed.

Parsing creates an object of some dozens of bytes for each element: two bytes on the wire may be an empty message of 80 bytes in memory,
and one byte of a packed column may be a number of eight bytes. So a message of 4 MiB can become hundreds of MiB. Counting first
prevents that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

UNCOUNTED_BYTES = 16 * 1024  # at most 8,192 elements, which take less than a megabyte, so they are not counted
_DEPTH_MAX = 16  # our own messages have at most four levels
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED_BYTES = {_I64: 8, _I32: 4}
_PACKED_BYTES = {1: 8, 6: 8, 16: 8, 2: 4, 7: 4, 15: 4}  # by FieldDescriptor.type: double, fixed64, sfixed64, float, …
_TEXTS = (9, 12)  # string, bytes


class MalformedError(Exception):
    """The bytes are not a protobuf message."""


class TooManyError(Exception):
    """The message has more elements than the limit. The text is one line for people."""

    def __init__(self, limit: int, field: str = "") -> None:
        super().__init__(f"more than {limit:,} elements" + (f" in {field}" if field else ""))


def check_elements(raw: bytes, descriptor: Any, limit: int, of_field: Mapping[str, int] | None = None) -> None:
    """Raises TooManyError if `raw` has more than `limit` fields, including nested fields and numbers of packed lists.

    of_field: limits of single fields of the outermost message, by name. Raises MalformedError if the bytes end too early or contain
    a group; the parser finds other faults.
    """
    if len(raw) > UNCOUNTED_BYTES or of_field:
        _Counter(limit, of_field or {}).walk(raw, 0, len(raw), descriptor, 0)


class _Counter:
    def __init__(self, limit: int, of_field: Mapping[str, int]) -> None:
        self._limit = limit
        self._of_field = of_field
        self._left = limit

    def walk(self, raw: bytes, at: int, end: int, descriptor: Any, depth: int) -> None:
        """Counts the message from `at` to `end`. A hostile message costs the time of this loop, so one-byte numbers and empty fields take
        a short path."""
        if depth > _DEPTH_MAX:
            raise MalformedError("nested too deep")
        fields = descriptor.fields_by_number
        left = {}
        if depth == 0:
            left = {descriptor.fields_by_name[name].number: (name, limit) for name, limit in self._of_field.items()}
        while at < end:
            tag = raw[at]
            at += 1
            if tag >= 0x80:
                tag, at = _varint(raw, at - 1, end)
            number, kind = tag >> 3, tag & 7
            count = 1
            if kind == _LEN:
                length, at = (raw[at], at + 1) if at < end and raw[at] < 0x80 else _varint(raw, at, end)
                start, at = at, at + length
                if at > end:
                    raise MalformedError("a field ends after the message")
                if length and (field := fields.get(number)) is not None and field.type not in _TEXTS:
                    if field.message_type is not None:
                        self.walk(raw, start, at, field.message_type, depth + 1)
                    else:
                        count = _packed(raw[start:at], _PACKED_BYTES.get(field.type))
            elif kind == _VARINT:
                _, at = _varint(raw, at, end)
            elif kind in _FIXED_BYTES:
                at += _FIXED_BYTES[kind]
            else:
                raise MalformedError("an unknown kind of field")
            if number in left:
                name, rest = left[number]
                if rest < count:
                    raise TooManyError(self._of_field[name], name)
                left[number] = (name, rest - count)
            self._left -= count
            if self._left < 0:
                raise TooManyError(self._limit)
        if at > end:
            raise MalformedError("a field ends after the message")


def _packed(raw: bytes, size: int | None) -> int:
    """Returns how many numbers a packed list has. size: the bytes of each; None for varints, whose last byte has no highest bit."""
    return len(raw) // size if size else int(np.count_nonzero(np.frombuffer(raw, dtype=np.uint8) < 0x80))


def _varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    """Returns (the value, the position after it)."""
    value = shift = 0
    while at < end:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            break
    raise MalformedError("a number has no end")
