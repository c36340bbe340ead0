"""Converts the columns of a segment (records.proto, RecordColumns) to fingerprints and back.

The sending agent is not trusted: sizes that do not match, numbers out of range, or a blob that inflates beyond its limit raise
DamagedError. The inflated size and the number of elements are limited before a blob is parsed, so that a few kilobytes never become
hundreds of megabytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detctl_proto.limits import SITE_BYTES_MAX
from detctl_proto.outside_json import JsonError, parse_object, writable
from detctl_proto.v1 import records_pb2
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage
from detctl_coordinator.element_count import MalformedError, TooManyError, check_elements
from detctl_coordinator.limits import NAMES_MAX, SEGMENT_RECORDS_MAX

DIGEST_BYTES = 16
SKETCH = struct.Struct("<38d")
INFLATED_BYTES_MAX = 16 << 20
# An agent closes a segment at 256 KiB. Its last record may add 1 MiB of rows, and 4,096 sites another 2 MiB, of any compression ratio.
# Beyond that, no segment of a real training inflates to more than 64 times its size.
INFLATED_BYTES_FREE = 4 << 20
INFLATED_RATIO_MAX = 64
RECORDS_MAX = SEGMENT_RECORDS_MAX
# Of one segment; an agent sends at most 64 KiB per record, and closes the segment after 256 KiB.
EVIDENCE_BYTES_MAX = 2 << 20
BYTES_OF_A_RECORD = 128  # about the memory that it takes in the parsed columns
ZLIB_LEVEL = 6
# The columns with at most one element per record.
COLUMNS = (
    *("sequence_delta", "stage", "phase", "step_delta", "micro", "site", "occurrence", "dtype", "shape"),
    *("order_blind_at", "rows_at", "rows_count", "sketch_at", "evidence_at", "evidence"),
)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """The checked columns of one segment; builds fingerprints only on request. Arrays are int64 with one value per record."""

    message: records_pb2.RecordColumns
    memory_bytes: int  # approximate
    sequence: Ints
    stage: Ints
    phase: Ints
    step: Ints
    order_blind: dict[int, int]  # position of a record -> place in the sparse column
    rows: dict[int, tuple[int, int]]  # position -> (first row, rows)
    sketch: dict[int, int]
    evidence: dict[int, int]

    def __len__(self) -> int:
        return len(self.sequence)

    def where(self, stage: Stage, phase: Phase, step: int) -> list[int]:
        """Returns the positions of the records of one step of a stream, in program order."""
        return [int(at) for at in np.nonzero((self.stage == stage) & (self.phase == phase) & (self.step == step))[0]]

    def fingerprint(self, at: int) -> Fingerprint:
        """Returns the record at position `at`. Raises DamagedError if its evidence is not a JSON object."""
        message = self.message
        blind, rows = self.order_blind.get(at), self.rows.get(at)
        sketch, evidence = self.sketch.get(at), self.evidence.get(at)
        return Fingerprint(
            sequence=int(self.sequence[at]),
            stage=Stage(int(self.stage[at])),
            phase=Phase(int(self.phase[at])),
            step=int(self.step[at]),
            micro=message.micro[at],
            site=message.names[message.site[at]],
            occurrence=message.occurrence[at],
            dtype=message.names[message.dtype[at]],
            shape=tuple(message.shapes[message.shape[at]].sizes),
            digest=_slice(message.digests, at, 1),
            order_blind=None if blind is None else _slice(message.order_blind, blind, 1),
            rows=None if rows is None else tuple(_slice(message.rows, rows[0] + i, 1) for i in range(rows[1])),
            sketch=None if sketch is None else SKETCH.unpack_from(message.sketch, sketch * SKETCH.size),
            evidence={} if evidence is None else _evidence(message.evidence[evidence]),
        )


def pack(records: Sequence[Fingerprint]) -> bytes:
    """Returns zlib of RecordColumns of records in program order. Inverse of `unpack`."""
    names: dict[str, int] = {}
    shapes: dict[tuple[int, ...], int] = {}
    message = records_pb2.RecordColumns()
    sequence = step = 0
    for at, record in enumerate(records):
        message.sequence_delta.append(record.sequence - sequence)
        message.step_delta.append(record.step - step)
        sequence, step = record.sequence, record.step
        message.stage.append(int(record.stage))
        message.phase.append(int(record.phase))
        message.micro.append(record.micro)
        message.site.append(names.setdefault(_text(record.site), len(names)))
        message.occurrence.append(record.occurrence)
        message.dtype.append(names.setdefault(_text(record.dtype), len(names)))
        message.shape.append(shapes.setdefault(tuple(record.shape), len(shapes)))
        if record.order_blind is not None:
            message.order_blind_at.append(at)
        if record.rows is not None:
            message.rows_at.append(at)
            message.rows_count.append(len(record.rows))
        if record.sketch is not None:
            message.sketch_at.append(at)
        if record.evidence:
            message.evidence_at.append(at)
            message.evidence.append(json.dumps(record.evidence, separators=(",", ":")))
    message.names.extend(names)
    for shape in shapes:
        message.shapes.add(sizes=shape)
    message.digests = b"".join(record.digest for record in records)
    message.order_blind = b"".join(record.order_blind for record in records if record.order_blind is not None)
    message.rows = b"".join(row for record in records for row in record.rows or ())
    message.sketch = b"".join(SKETCH.pack(*record.sketch) for record in records if record.sketch is not None)
    return zlib.compress(message.SerializeToString(deterministic=True), ZLIB_LEVEL)


def unpack(data: bytes, record_count: int | None = None) -> list[Fingerprint]:
    """Returns the fingerprints of a segment in program order. Raises DamagedError."""
    columns = read_columns(data, record_count)
    return [columns.fingerprint(at) for at in range(len(columns))]


def read_columns(data: bytes, record_count: int | None = None) -> Columns:
    """Returns the inflated and checked columns of a segment. record_count: of its meta. Raises DamagedError."""
    inflated = _inflate(data)
    message = _parse(inflated, RECORDS_MAX if record_count is None else min(record_count, RECORDS_MAX))
    count = len(message.sequence_delta)
    _need(
        record_count is None or record_count == count,
        f"a segment has {count} records, but its header gives {record_count}",
    )
    for name in ("stage", "phase", "step_delta", "micro", "site", "occurrence", "dtype", "shape"):
        _need(len(getattr(message, name)) == count, f"column {name} of a segment does not have {count} values")
    _need(len(message.digests) == DIGEST_BYTES * count, "column digests of a segment has another length")
    sequence, step = np.cumsum(_ints(message.sequence_delta)), np.cumsum(_ints(message.step_delta))
    stage, phase = _ints(message.stage), _ints(message.phase)
    _need(_within(stage, len(Stage)) and _within(phase, len(Phase)), "a segment names an unknown stage or phase")
    _need(_within(step, 1 << 32) and _within(sequence, (1 << 63) - 1), "steps or numbers of a segment are out of range")
    names = len(message.names)
    long = any(len(name) > SITE_BYTES_MAX or len(name.encode()) > SITE_BYTES_MAX for name in message.names)
    _need(not long, f"a name of a segment has more than {SITE_BYTES_MAX} bytes")
    _need(_within(_ints(message.site), names) and _within(_ints(message.dtype), names), "a name is out of range")
    _need(_within(_ints(message.shape), len(message.shapes)), "a shape is out of range")
    order_blind = _places(message.order_blind_at, count, "order_blind")
    _need(len(message.order_blind) == DIGEST_BYTES * len(order_blind), "column order_blind has another length")
    sketch = _places(message.sketch_at, count, "sketch")
    _need(len(message.sketch) == SKETCH.size * len(sketch), "column sketch has another length")
    evidence = _places(message.evidence_at, count, "evidence")
    _need(len(message.evidence) == len(evidence), "column evidence has another length")
    size = sum(map(len, message.evidence))
    _need(size <= EVIDENCE_BYTES_MAX, f"a segment has {size} characters of evidence; the limit is {EVIDENCE_BYTES_MAX}")
    return Columns(
        message=message,
        memory_bytes=len(inflated) + BYTES_OF_A_RECORD * count,
        sequence=sequence,
        stage=stage,
        phase=phase,
        step=step,
        order_blind=order_blind,
        rows=_rows(message, count),
        sketch=sketch,
        evidence=evidence,
    )


def inflated_bytes_max(compressed_bytes: int) -> int:
    """Returns how far a segment of this size may inflate."""
    return min(INFLATED_BYTES_MAX, INFLATED_BYTES_FREE + INFLATED_RATIO_MAX * compressed_bytes)


def _inflate(data: bytes) -> bytes:
    inflater, limit = zlib.decompressobj(), inflated_bytes_max(len(data))
    try:
        inflated = inflater.decompress(data, limit)
        # zlib may have returned all data without seeing the stream's end; reading one more byte decides.
        beyond = not inflater.eof and inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise DamagedError("a segment is not zlib data") from error
    _need(not beyond, f"a segment of {len(data)} bytes inflates beyond {limit} bytes")
    _need(inflater.eof and not inflater.unused_data, "a segment is cut short or has bytes after its end")
    return inflated


def _parse(inflated: bytes, count: int) -> records_pb2.RecordColumns:
    """Returns the message, which may have at most `count` records."""
    columns = dict.fromkeys(COLUMNS, count)
    try:
        check_elements(
            inflated,
            records_pb2.RecordColumns.DESCRIPTOR,
            (len(COLUMNS) + 4) * count
            + 4 * NAMES_MAX,  # with the dictionaries of names and shapes, and the sizes of these
            columns | {"names": NAMES_MAX, "shapes": NAMES_MAX},
        )
        message = records_pb2.RecordColumns()
        message.ParseFromString(inflated)
    except TooManyError as error:
        raise DamagedError(f"a segment of at most {count} records has {error}, which is beyond the limit") from error
    except (MalformedError, DecodeError) as error:
        raise DamagedError("a segment is not a RecordColumns message") from error
    return message


def _rows(message: records_pb2.RecordColumns, count: int) -> dict[int, tuple[int, int]]:
    """Returns position of a record -> (its first row, number of rows)."""
    places = _places(message.rows_at, count, "rows")
    counts = _ints(message.rows_count)
    _need(len(counts) == len(places), "column rows_count has another length")
    _need(len(message.rows) == DIGEST_BYTES * int(counts.sum()), "column rows has another length")
    firsts = np.cumsum(counts) - counts
    return {at: (int(first), int(many)) for at, first, many in zip(places, firsts, counts, strict=True)}


def _places(positions: Sequence[int], count: int, name: str) -> dict[int, int]:
    """Returns position of a record -> index in a sparse column, after checking that positions ascend and belong to records."""
    values = _ints(positions)
    ascending = bool(np.all(np.diff(values) > 0))
    _need(ascending and _within(values, count), f"column {name}_at of a segment is out of order or range")
    return {int(at): place for place, at in enumerate(values)}


def _ints(values: Sequence[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64, count=len(values))


def _within(values: Ints, stop: int) -> bool:
    return not len(values) or bool(values.min() >= 0 and values.max() < stop)


def _slice(data: bytes, first: int, many: int) -> bytes:
    return data[first * DIGEST_BYTES : (first + many) * DIGEST_BYTES]


def _evidence(text: str) -> dict[str, Any]:
    try:
        # Names of files that are not UTF-8 become escapes, also in the verdict.
        return parse_object(text, "evidence of a record", EVIDENCE_BYTES_MAX, repair=True)
    except JsonError as error:
        raise DamagedError(str(error)) from None


def _text(name: str) -> str:
    """Returns the name as valid UTF-8 for protobuf; other bytes become \\udcXX escapes."""
    return writable(name)


def _need(condition: bool, text: str) -> None:
    if not condition:
        raise DamagedError(text)
