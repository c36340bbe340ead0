"""Reads the values that runs at level op kept (detctl_probe/intervene/values.py), and measures how those of two runs differ."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.sizes.elements import Change, Elements, measure, measure_change, widened
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage, StreamKey

VALUE = "kept/value/"
DIGEST_CHARS = 16
KEPT_BYTES_MAX = 32 << 20


@dataclass(frozen=True)
class Kept:
    """One kept value. `every`: only each how-manieth element was kept, 1: all."""

    dtype: str
    shape: tuple[int, ...]
    every: int
    content: bytes


@dataclass(frozen=True)
class Measured:
    """How the results of one operation differ. `change`: for a value that the operation updates, how its changes differ."""

    elements: Elements
    change: Change | None = None


def digest_of(record: Fingerprint) -> str:
    """Returns the name of a fingerprint's value."""
    return record.digest.hex()[:DIGEST_CHARS]


def kept_values(reader: RunReader, rank: int, digests: Iterable[str]) -> dict[str, Kept]:
    """Returns digest -> value of those that this rank kept completely. Raises DamagedError."""
    needed = set(digests)
    key = StreamKey(rank, Stage.INIT, Phase.TRAIN)
    count = reader.streams().get(key, 0)
    parts: dict[str, dict[int, tuple[Any, bytes]]] = {}
    size = 0
    for entry in reader.entries(key, 0, count) if needed and count else ():
        for record in reader.records(key, entry.step):
            name, _, number = record.site.removeprefix(VALUE).partition("#")
            if not record.site.startswith(VALUE) or name not in needed or not number.isdigit():
                continue
            try:
                content = base64.b64decode(str(record.evidence["content"]), validate=True)
            except (KeyError, ValueError, binascii.Error):
                continue
            size += len(content)
            if size > KEPT_BYTES_MAX:
                return {}
            parts.setdefault(name, {})[int(number)] = (record.evidence, content)
    found = {name: _joined(some) for name, some in parts.items()}
    return {name: one for name, one in found.items() if one is not None}


def _joined(parts: dict[int, tuple[Any, bytes]]) -> Kept | None:
    if sorted(parts) != list(range(len(parts))):
        return None
    about = parts[0][0]
    try:
        shape, every = tuple(int(size) for size in about["shape"]), int(about.get("every", 1))
    except (KeyError, TypeError, ValueError):
        return None
    return Kept(str(about.get("dtype")), shape, every, b"".join(parts[number][1] for number in sorted(parts)))


Pair = tuple[RunReader, RunReader]


def measured_values(readers: Pair, ranks: tuple[int, int], digests: tuple[str, str]) -> Measured | None:
    """Returns how two values differ; None if a run did not keep its value. Raises DamagedError."""
    sides = [
        kept_values(reader, rank, {digest}).get(digest)
        for reader, rank, digest in zip(readers, ranks, digests, strict=True)
    ]
    elements = _elements(*sides)
    return None if elements is None else Measured(elements)


def measured_results(
    readers: Pair, ranks: tuple[int, int], records: tuple[Fingerprint, Fingerprint]
) -> Measured | None:
    """Returns how the results of an operation differ; None if their values were not kept. Raises DamagedError."""
    a, b = records
    was = tuple(str(record.evidence.get("was") or "") for record in records)
    ours = kept_values(readers[0], ranks[0], {digest_of(a), was[0]})
    theirs = kept_values(readers[1], ranks[1], {digest_of(b), was[1]})
    values = ours.get(digest_of(a)), theirs.get(digest_of(b))
    elements = _elements(*values)
    if elements is None or values[0] is None or values[1] is None:
        return None
    before = ours.get(was[0])
    change = None
    if was[0] == was[1] and before is not None and (before.dtype, before.every) == (a.dtype, values[0].every):
        change = measure_change(before.content, values[0].content, values[1].content, values[0].dtype)
    return Measured(elements, change)


def _elements(a: Kept | None, b: Kept | None) -> Elements | None:
    if a is None or b is None or a.shape != b.shape or a.every != b.every:
        return None
    if a.dtype == b.dtype:
        return measure(a.content, b.content, a.dtype, a.shape, a.every)
    short = ("bfloat16", "float16", "float32")
    if a.dtype not in short or b.dtype not in short:
        return None
    sides = [one.content if one.dtype == "float32" else widened(one.content, one.dtype) for one in (a, b)]
    return measure(sides[0], sides[1], "float32", a.shape, a.every)
