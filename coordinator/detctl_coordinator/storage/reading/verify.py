"""Verifies the stored data of a run against its seals."""

from __future__ import annotations

import zlib
from itertools import islice

from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Seal, SealedStream, SegmentMeta, StreamKey
from detctl_coordinator.storage.store import MissingError, Store

PAGE = 4096  # entries per call
NAMED_MAX = 5  # the most numbers that a message lists


def verify(store: Store, run_id: str, *, blobs: bool = False) -> list[str]:
    """Returns one line for each problem; [] if the run is complete. blobs: also read every segment and check its CRC. Raises StoreError.

    A run without any seal is not complete, because a probe that stopped sending looks the same as one that had no more data.
    """
    seals, streams = store.seals(run_id), store.streams(run_id)
    if not seals:
        return ["no rank has sent a seal"]
    problems = [f"rank {rank} sent records but no seal" for rank in sorted({key.rank for key in streams} - set(seals))]
    for rank, seal in seals.items():
        metas = store.segment_metas(run_id, rank)
        stored = {key: count for key, count in streams.items() if key.rank == rank}
        problems += [f"rank {rank}: {text}" for text in _rank(seal, metas, stored)]
        for stream in seal.streams:
            if stream.key.rank == rank and stored.get(stream.key) == stream.steps:
                problems += [f"rank {rank}: {text}" for text in _stream(store, run_id, stream)]
        if blobs:
            problems += [f"rank {rank}: {text}" for text in _blobs(store, run_id, metas)]
    return problems


def check_blob(meta: SegmentMeta, data: bytes) -> None:
    """Raises DamagedError if a segment's stored bytes differ from those that were sent."""
    if len(data) != meta.bytes or zlib.crc32(data) != meta.crc32:
        raise DamagedError("the stored bytes do not match their checksum")


def _rank(seal: Seal, metas: list[SegmentMeta], stored: dict[StreamKey, int]) -> list[str]:
    """Checks segments and counts of entries against the seal."""
    problems = []
    if not seal.complete:
        problems.append("the probe's own counts and chains did not match what arrived at the agent")
    numbers = {meta.number for meta in metas}
    # A seal may claim four billion segments: their numbers are never listed.
    missing = seal.segments - sum(number < seal.segments for number in numbers)
    if missing:
        absent = (number for number in range(seal.segments) if number not in numbers)
        named = _some(list(islice(absent, NAMED_MAX + 1)))
        problems.append(f"{missing} of {seal.segments} segments are missing: {named}")
    extra = sorted(number for number in numbers if number >= seal.segments)
    if extra:
        problems.append(f"there are segments beyond the {seal.segments} sealed ones: {_some(extra)}")
    sealed = {stream.key: stream for stream in seal.streams}
    foreign = [key for key in sealed if key.rank != seal.rank]
    if foreign:
        problems.append("the seal contains streams of another rank")
    for key in sorted({*stored, *sealed} - set(foreign)):
        have, want = stored.get(key, 0), sealed[key].steps if key in sealed else 0
        if have != want:
            problems.append(f"{key.stage.word}/{key.phase.word} has {have} steps, but the seal has {want}")
    records, promised = sum(meta.record_count for meta in metas), sum(stream.count for stream in seal.streams)
    if records != promised and not missing and not extra:
        problems.append(f"{records} records arrived, but the seal has {promised}")
    return problems


def _stream(store: Store, run_id: str, stream: SealedStream) -> list[str]:
    """Checks counts, order and last chain of a stream that has as many entries as the seal."""
    key, word = stream.key, f"{stream.key.stage.word}/{stream.key.phase.word}"
    count, last_step, chain = 0, -1, bytes(16)
    for start in range(0, stream.steps, PAGE):
        page = store.entries(run_id, key, start, min(start + PAGE, stream.steps))
        if len(page) != min(PAGE, stream.steps - start):
            return [f"{word}: entries are missing after {start + len(page)}"]
        for entry in page:
            if entry.step <= last_step:
                return [f"{word}: step {entry.step} comes after step {last_step}"]
            count, last_step, chain = count + entry.count, entry.step, entry.chain
    problems = []
    if count != stream.count:
        problems.append(f"{word} has {count} records in its index, but the seal has {stream.count}")
    if stream.steps and chain != stream.chain:
        problems.append(f"{word} ends with another chain than the seal")
    return problems


def _blobs(store: Store, run_id: str, metas: list[SegmentMeta]) -> list[str]:
    problems = []
    for meta in metas:
        try:
            check_blob(meta, store.segment_columns(run_id, meta.rank, [meta.number])[meta.number])
        except (DamagedError, MissingError) as error:
            problems.append(f"segment {meta.number}: {error}")
    return problems


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:NAMED_MAX]))
    return f"{shown}, …" if len(numbers) > NAMED_MAX else shown
