"""Packs the records of one rank, in program order, into segments of the contract (records.proto)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import pairwise

from detctl_proto.v1 import records_pb2

from detctl_agent.recording.folding import Entry
from detctl_agent.recording.records import Record, text

RECORDS_MAX = 4096
BYTES_MAX = 256 * 1024  # before compression, estimated
ROWS_MAX = 65_536  # of one record, 1 MiB; more are left out: the record's own digest still distinguishes them
EVIDENCE_BYTES_MAX = 64 * 1024
ENTRIES_MAX = 4096
RECORD_BYTES = 40  # a guess at a record's columns beside its texts
ZLIB_LEVEL = 6


@dataclass(frozen=True)
class Origin:
    """The fields that every segment of a rank has in common."""

    run_id: str
    attempt: int
    rank: int
    scheme: str
    level: str


class SegmentPacker:
    """Collects records and closed entries of one rank; `pack` makes the next segment of them."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.number = 0  # of the next segment
        self.since = 0.0  # when the first waiting record arrived; set by the caller
        self._records: list[Record] = []
        self._closed: list[Entry] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        """Whether anything waits to be packed."""
        return bool(self._records or self._closed)

    @property
    def full(self) -> bool:
        return len(self._records) >= RECORDS_MAX or self._bytes >= BYTES_MAX or len(self._closed) >= ENTRIES_MAX

    def add(self, record: Record) -> None:
        """Takes a record; the caller packs when `full`."""
        self._records.append(record)
        self._bytes += RECORD_BYTES
        if record.rows is not None or record.evidence is not None or record.sketch is not None:
            self._bytes += len(record.rows or b"") + len(record.evidence or b"") + len(record.sketch or b"")

    def close(self, entries: list[Entry]) -> None:
        """Takes entries that closed after the records that were added."""
        self._closed.extend(entries)

    def pack(self) -> records_pb2.Segment:
        """The next segment, of everything that was waiting."""
        records, closed = self._records, self._closed
        self._records, self._closed, self._bytes = [], [], 0
        columns = zlib.compress(_columns(records).SerializeToString(), ZLIB_LEVEL)
        steps = [record.step for record in records] or [entry.step for entry in closed] or [0]
        origin = self.origin
        segment = records_pb2.Segment(
            run_id=origin.run_id,
            attempt=origin.attempt,
            rank=origin.rank,
            number=self.number,
            scheme=origin.scheme,
            level=origin.level,
            record_count=len(records),
            first_step=min(steps),
            last_step=max(steps),
            columns=columns,
            crc32=zlib.crc32(columns),
            closed=[
                records_pb2.StepEntry(
                    stage=records_pb2.Stage.Name(entry.stage),
                    phase=records_pb2.Phase.Name(entry.phase),
                    ordinal=entry.ordinal,
                    step=entry.step,
                    count=entry.count,
                    digest=entry.digest,
                    sum=entry.sum,
                    chain=entry.chain,
                )
                for entry in closed
            ],
        )
        self.number += 1
        return segment


def _columns(records: list[Record]) -> records_pb2.RecordColumns:
    columns = records_pb2.RecordColumns()
    if not records:
        return columns
    names: dict[str, int] = {}
    shapes: dict[tuple[int, ...], int] = {}
    known: dict[bytes, tuple[int, int, int]] = {}
    places: list[tuple[int, int, int]] = []
    for record in records:
        place = known.get(record.key)
        if place is None:
            identity = record.identity
            place = known[record.key] = (
                names.setdefault(identity.site, len(names)),
                names.setdefault(identity.dtype, len(names)),
                shapes.setdefault(identity.shape, len(shapes)),
            )
        places.append(place)
    sequence, stage, phase, step, micro, occurrence, _, _, digests, order_blind, rows, evidence, sketch = zip(
        *records, strict=True
    )
    columns.names.extend(names)
    columns.sequence_delta.extend(_deltas(sequence))
    columns.stage.extend(stage)
    columns.phase.extend(phase)
    columns.step_delta.extend(_deltas(step))
    columns.micro.extend(micro)
    columns.site.extend([place[0] for place in places])
    columns.occurrence.extend(occurrence)
    columns.dtype.extend([place[1] for place in places])
    columns.shape.extend([place[2] for place in places])
    for sizes in shapes:
        columns.shapes.add().sizes.extend(sizes)
    columns.digests = b"".join(digests)
    at = [position for position, value in enumerate(order_blind) if value is not None]
    columns.order_blind_at.extend(at)
    columns.order_blind = b"".join([order_blind[position] for position in at])
    at = [position for position, value in enumerate(rows) if value is not None and len(value) <= 16 * ROWS_MAX]
    columns.rows_at.extend(at)
    columns.rows_count.extend([len(rows[position]) // 16 for position in at])
    columns.rows = b"".join([rows[position] for position in at])
    at = [position for position, value in enumerate(sketch) if value is not None]
    columns.sketch_at.extend(at)
    columns.sketch = b"".join([sketch[position] for position in at])
    at = [position for position, value in enumerate(evidence) if value is not None and len(value) <= EVIDENCE_BYTES_MAX]
    columns.evidence_at.extend(at)
    columns.evidence.extend([text(evidence[position]) for position in at])
    return columns


def _deltas(values: tuple[int, ...]) -> list[int]:
    return [values[0], *[after - before for before, after in pairwise(values)]]
