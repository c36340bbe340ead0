"""Converts segments and seals from messages. A segment's columns are checked and stored unchanged; the coordinator never hashes records."""

from __future__ import annotations

import zlib

from detctl_proto.levels import LEVELS
from detctl_proto.v1 import records_pb2 as pb

from detctl_coordinator import limits
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Phase, Seal, SealedStream, SegmentMeta, Stage, StepEntry, StreamKey
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.storage.reading.columns import inflated_bytes_max, read_columns
from detctl_coordinator.wire.checks import at_most, in_form, recorded_facts
from detctl_coordinator.wire.schemas import SealDetail

Closed = list[tuple[StreamKey, StepEntry]]


def segment_from_proto(segment: pb.Segment) -> tuple[SegmentMeta, bytes, Closed]:
    """Returns (meta, zlib of RecordColumns as sent, closed steps). Raises RefusedCallError for a wrong limit, CRC or count."""
    where = f"segment {segment.number} of rank {segment.rank}"
    if zlib.crc32(segment.columns) != segment.crc32:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"{where} has a wrong checksum")
    if not 0 < len(segment.scheme) <= 32 or segment.level not in LEVELS:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"{where} has no scheme or an unknown level")
    at_most(segment.record_count, limits.SEGMENT_RECORDS_MAX, f"records in {where}")
    at_most(len(segment.closed), limits.CLOSED_MAX, f"closed steps in {where}")
    try:
        read_columns(segment.columns, segment.record_count)  # refuse now what could not be read later
    except DamagedError as error:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"{where}: {error}") from error
    closed = [(_key(segment.rank, entry, where), _entry(entry, where)) for entry in segment.closed]
    meta = SegmentMeta(
        rank=segment.rank,
        number=segment.number,
        scheme=segment.scheme,
        level=segment.level,
        record_count=segment.record_count,
        first_step=segment.first_step,
        last_step=segment.last_step,
        crc32=segment.crc32,
        bytes=len(segment.columns),
    )
    return meta, segment.columns, closed


def bytes_to_check(part: pb.Segment | pb.Seal) -> int:
    """Returns about how much memory the functions of this module need: for inflated and parsed columns, or for a detail as JSON and
    objects."""
    if isinstance(part, pb.Seal):
        return 10 * len(part.detail_json)
    return 2 * inflated_bytes_max(len(part.columns))


def seal_from_proto(seal: pb.Seal) -> Seal:
    """Returns the seal. Raises RefusedCallError if it breaks a limit."""
    where = f"seal of rank {seal.rank}"
    streams = []
    for total in seal.streams:
        if len(total.chain) != 16:
            raise RefusedCallError(Code.INVALID_ARGUMENT, f"{where} has a chain that is not 16 bytes long")
        streams.append(SealedStream(_key(seal.rank, total, where), total.steps, total.count, total.chain))
    detail = recorded_facts(seal.detail_json, limits.DETAIL_BYTES_MAX, f"the detail of the {where}")
    in_form(SealDetail, detail, f"the detail of the {where}")
    return Seal(
        rank=seal.rank,
        segments=seal.segments,
        last_step=seal.last_step,
        steps_finished=seal.steps_finished,
        reason=limits.clean(seal.reason, 40),
        complete=seal.complete,
        streams=tuple(streams),
        detail=detail,
    )


def _key(rank: int, entry: pb.StepEntry | pb.StreamTotal, where: str) -> StreamKey:
    try:
        return StreamKey(rank, Stage(entry.stage), Phase(entry.phase))
    except ValueError as error:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"{where} names an unknown stage or phase") from error


def _entry(entry: pb.StepEntry, where: str) -> StepEntry:
    if not len(entry.digest) == len(entry.sum) == len(entry.chain) == 16:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT, f"{where}: the entry of step {entry.step} has a digest that is not 16 bytes long"
        )
    return StepEntry(entry.ordinal, entry.step, entry.count, entry.digest, entry.sum, entry.chain)
