"""A second, independent reader of the probe's records, for tests: it spells out every field and is not fast.

The product reads records in detctl_agent/recording/records.py.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from detctl_probe.transport import frames


class Record(NamedTuple):
    """One record as it travelled. stage and phase are words; digests 16 bytes; evidence None or the parsed JSON object."""

    sequence: int
    stage: str
    phase: str
    step: int
    micro: int
    occurrence: int
    site: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes
    order_blind: bytes | None = None
    rows: tuple[bytes, ...] | None = None
    evidence: dict[str, Any] | None = None
    sketch: tuple[float, ...] | None = None


def load_json(payload: bytes) -> dict[str, Any]:
    """The JSON object of a payload. Raises ValueError with one line."""
    try:
        content = json.loads(bytes(payload).decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a frame is not JSON: {type(error).__name__}") from None
    if not isinstance(content, dict):
        raise ValueError("a frame holds JSON, but not an object")
    return content


def unpack_records(payload: bytes) -> list[Record]:
    """All records of a RECORDS payload. Raises ValueError with one line on anything that pack_record does not write."""
    reader = _Payload(payload)
    records = []
    while reader.left:
        sequence, stage, phase, step, micro, occurrence, has = frames.HEAD.unpack(reader.take(frames.HEAD.size))
        if stage >= len(frames.STAGES) or phase >= len(frames.PHASES) or has > frames.HAS_ALL:
            raise ValueError(f"a record has stage {stage}, phase {phase}, parts {has}: not of this version")
        site = reader.name()
        dtype = reader.name()
        shape = struct.unpack(f"<{reader.peek_u8()}Q", reader.take(8 * reader.u8()))
        digest = reader.take(16)
        order_blind = reader.take(16) if has & frames.HAS_ORDER_BLIND else None
        rows: tuple[bytes, ...] | None = None
        if has & frames.HAS_ROWS:
            count = reader.u32()
            if count > frames.ROWS_MAX:
                raise ValueError(f"a record claims {count} rows; the limit is {frames.ROWS_MAX}")
            raw = reader.take(16 * count)
            rows = tuple(raw[at : at + 16] for at in range(0, len(raw), 16))
        evidence = load_json(reader.take(reader.u32())) if has & frames.HAS_EVIDENCE else None
        sketch = frames.SKETCH.unpack(reader.take(frames.SKETCH.size)) if has & frames.HAS_SKETCH else None
        records.append(
            Record(
                sequence,
                frames.STAGES[stage],
                frames.PHASES[phase],
                step,
                micro,
                occurrence,
                site,
                dtype,
                shape,
                digest,
                order_blind,
                rows,
                evidence,
                sketch,
            )
        )
    return records


class _Payload:
    """A cursor that raises ValueError at the end of its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = bytes(data)
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError(f"a record is cut: {count} bytes expected, {self.left} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def peek_u8(self) -> int:
        if not self.left:
            raise ValueError("a record is cut: 1 byte wanted, 0 left")
        return self.data[self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int(frames.U32.unpack(self.take(4))[0])

    def name(self) -> str:
        size = int(frames.U16.unpack(self.take(2))[0])
        if size > frames.NAME_BYTES_MAX:
            raise ValueError(f"a name has {size} bytes; the limit is {frames.NAME_BYTES_MAX}")
        return self.take(size).decode("utf-8", "surrogateescape")
