"""Segments and seals as a coordinator takes them, and their columns as a comparison reads them."""

from __future__ import annotations

import zlib

from google.protobuf.message import DecodeError
from harness import fuzz, instrumented

with instrumented("detctl_coordinator.wire", "detctl_coordinator.storage.reading.columns", "detctl_proto.outside_json"):
    from detctl_coordinator.comparison.reader import DamagedError
    from detctl_coordinator.errors.codes import RefusedCallError
    from detctl_coordinator.storage.reading import columns
    from detctl_coordinator.wire import records as wire
    from detctl_proto.v1 import records_pb2 as pb


def target(data: bytes) -> None:
    kind, data = data[:1], data[1:]
    try:
        if kind == b"S":
            take(pb.Segment.FromString(data))
        elif kind == b"E":
            wire.seal_from_proto(pb.Seal.FromString(data))
        elif kind == b"Z":
            take(pb.Segment(scheme="n6.v1", level="module", columns=data))
        else:
            take(pb.Segment(scheme="n6.v1", level="module", columns=zlib.compress(data, 1), record_count=count(data)))
    except (DecodeError, RefusedCallError, DamagedError):
        pass


def count(data: bytes) -> int:
    return len(pb.RecordColumns.FromString(data).sequence_delta)


def take(segment: pb.Segment) -> None:
    """Both doors in turn: what the first lets in, the second reads or calls damaged."""
    segment.crc32 = zlib.crc32(segment.columns)
    try:
        wire.segment_from_proto(segment)
    except RefusedCallError:
        pass
    found = columns.unpack(segment.columns)
    assert len(columns.unpack(columns.pack(found))) == len(found)


if __name__ == "__main__":
    fuzz(target)
