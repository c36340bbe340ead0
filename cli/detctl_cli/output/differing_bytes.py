"""Finds the first byte in which two data files of a verdict differ, if both are still on this machine as they were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from detctl_proto.files.regular_file import RegularFileError, open_regular

FILES_MAX = 20
BYTES_MAX = 1024**3  # of one file
PIECE_BYTES = 1024 * 1024


def with_first_bytes(verdict: dict[str, Any]) -> dict[str, Any]:
    """Returns the verdict, in which each of its first files that differ in content has `offset`, if both sides can be read."""
    files = verdict.get("files")
    if not isinstance(files, list) or not files:
        return verdict
    found = [
        _with_offset(file) if number < FILES_MAX and isinstance(file, Mapping) else file
        for number, file in enumerate(files)
    ]
    return {**verdict, "files": found}


def _with_offset(file: Mapping[str, Any]) -> Mapping[str, Any]:
    paths, digests = file.get("paths"), file.get("digests")
    if file.get("offset") is not None or not _two_texts(paths) or not _two_texts(digests) or paths == digests:
        return file
    offset = first_difference(Path(paths[0]), Path(paths[1]), digests)  # type: ignore[index]  # checked above
    return file if offset is None else {**file, "offset": offset}


def first_difference(left: Path, right: Path, digests: Any) -> int | None:
    """Returns the position of the first byte that differs. None if a file cannot be read, or is not the one that was recorded."""
    offset, position = None, 0
    totals = blake2b(digest_size=16), blake2b(digest_size=16)
    try:
        with open_regular(left, BYTES_MAX, follow=True) as one, open_regular(right, BYTES_MAX, follow=True) as other:
            while True:
                pieces = one.read(PIECE_BYTES), other.read(PIECE_BYTES)
                for total, piece in zip(totals, pieces, strict=True):
                    total.update(piece)
                if offset is None and pieces[0] != pieces[1]:
                    offset = position + _first(*pieces)
                if not pieces[0] and not pieces[1]:
                    break
                position += PIECE_BYTES
    except (RegularFileError, OSError):
        return None
    return offset if [total.hexdigest() for total in totals] == list(digests) else None


def _first(a: bytes, b: bytes) -> int:
    """Returns the position of the first difference of two pieces, by halving."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _two_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) and item for item in value)
