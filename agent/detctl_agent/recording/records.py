"""Reads the records of a process that nobody trusts: every size is checked before it is used.

The layout is that of detctl_probe/transport/frames.py. A training repeats the same sites, dtypes and shapes in each step, so the
parser looks up this part of a record as raw bytes: parsing it again would cost more than all the rest.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any, NamedTuple

from detctl_probe.transport import frames
from detctl_probe.transport.frames import (
    DIGEST_BYTES,
    HAS_ALL,
    HAS_EVIDENCE,
    HAS_ORDER_BLIND,
    HAS_ROWS,
    HAS_SKETCH,
    ProtocolError,
)
from detctl_proto.limits import SITE_BYTES_MAX
from detctl_proto.outside_json import DEPTH_MAX, JsonError, parse_object

JSON_BYTES_MAX = 2 * 1024 * 1024
JSON_DEPTH_MAX = (
    DEPTH_MAX - 8
)  # the agent sends it on inside a seal's detail or a manifest, which may be DEPTH_MAX deep
SHAPE_MAX = 64
IDENTITIES_MAX = 65_536  # entries of the look-up table; a full table is emptied
IDENTITIES_BYTES_MAX = 16 * 1024 * 1024

_HEAD = struct.Struct(frames.HEAD.format + "H")  # with the length of the site
_SKETCH_BYTES = frames.SKETCH.size
_STAGES, _PHASES = len(frames.STAGES), len(frames.PHASES)


class Identity(NamedTuple):
    """Texts of a record as they are stored, and both ends of the head of its hash (detctl_probe/transport/chain.py, record_hash)."""

    site: str
    dtype: str
    shape: tuple[int, ...]
    hash_site: bytes
    hash_rest: bytes


class Record(NamedTuple):
    """One record. `key` is its raw text part: equal keys have equal identities. rows: 16 bytes each, joined."""

    sequence: int
    stage: int
    phase: int
    step: int
    micro: int
    occurrence: int
    key: bytes
    identity: Identity
    digest: bytes
    order_blind: bytes | None
    rows: bytes | None
    evidence: bytes | None
    sketch: bytes | None


def record_hash(record: Record) -> bytes:
    """The same as detctl_probe.transport.chain.record_hash, from the bytes as they came."""
    identity = record.identity
    head = b"%s%d%s" % (identity.hash_site, record.occurrence, identity.hash_rest)
    return blake2b(head + record.digest + (record.order_blind or b""), digest_size=16).digest()


class Identities:
    """Texts of records by their raw bytes; a full table is emptied. All processes of a training share one, because they use the
    same names, and thousands of separate tables would add up."""

    def __init__(self) -> None:
        self._known: dict[bytes, Identity] = {}
        self._bytes = 0

    @property
    def known(self) -> dict[bytes, Identity]:
        """The table itself, for look-up; always the same object."""
        return self._known

    def add(self, key: bytes, identity: Identity) -> None:
        if len(self._known) >= IDENTITIES_MAX or self._bytes + len(key) > IDENTITIES_BYTES_MAX:
            self._known.clear()
            self._bytes = 0
        self._known[key] = identity
        self._bytes += len(key)


class RecordParser:
    """Parses RECORDS payloads. Each connection has its own."""

    def __init__(self, identities: Identities | None = None) -> None:
        self._table = identities or Identities()
        self._identities = self._table.known

    def parse(self, payload: bytes) -> list[Record]:
        """The records of one payload. Raises ProtocolError for an impossible size or number."""
        try:
            return self._parse(payload)
        except struct.error as error:
            raise ProtocolError(f"a record that is cut off: {error}") from error

    def _parse(self, payload: bytes) -> list[Record]:
        found: list[Record] = []
        position, size = 0, len(payload)
        identities, unpack_head, unpack_u16, unpack_u32 = (
            self._identities, _HEAD.unpack_from, frames.U16.unpack_from, frames.U32.unpack_from,
        )  # fmt: skip
        while position < size:
            sequence, stage, phase, step, micro, occurrence, has, site_bytes = unpack_head(payload, position)
            if stage >= _STAGES or phase >= _PHASES or has > HAS_ALL or sequence >> 62:
                raise ProtocolError(f"a record of stage {stage}, phase {phase}, flags {has}")
            start = position + _HEAD.size - 2
            at = start + 2 + site_bytes
            dtype_bytes = unpack_u16(payload, at)[0]
            at += 2 + dtype_bytes
            if at >= size:
                raise ProtocolError("a record that is cut off")
            dimensions = payload[at]
            end = at + 1 + 8 * dimensions
            key = payload[start:end]
            identity = identities.get(key)
            if identity is None:
                identity = self._identity(key, site_bytes, dtype_bytes, dimensions)
            position = end + DIGEST_BYTES
            digest = payload[end:position]
            order_blind = rows = evidence = sketch = None
            if has:
                if has & HAS_ORDER_BLIND:
                    order_blind = payload[position : position + DIGEST_BYTES]
                    position += DIGEST_BYTES
                if has & HAS_ROWS:
                    length = DIGEST_BYTES * unpack_u32(payload, position)[0]
                    rows = payload[position + 4 : position + 4 + length]
                    position += 4 + length
                if has & HAS_EVIDENCE:
                    length = unpack_u32(payload, position)[0]
                    evidence = payload[position + 4 : position + 4 + length]
                    position += 4 + length
                if has & HAS_SKETCH:
                    sketch = payload[position : position + _SKETCH_BYTES]
                    position += _SKETCH_BYTES
            if position > size:
                raise ProtocolError("a record that is cut off")
            found.append(
                Record(
                    sequence,
                    stage,
                    phase,
                    step,
                    micro,
                    occurrence,
                    key,
                    identity,
                    digest,
                    order_blind,
                    rows,
                    evidence,
                    sketch,
                )
            )
        return found

    def _identity(self, key: bytes, site_bytes: int, dtype_bytes: int, dimensions: int) -> Identity:
        if dimensions > SHAPE_MAX or len(key) != 2 + site_bytes + 2 + dtype_bytes + 1 + 8 * dimensions:
            raise ProtocolError(f"a record of {dimensions} dimensions")
        site = key[2 : 2 + site_bytes]
        dtype = key[4 + site_bytes : 4 + site_bytes + dtype_bytes]
        shape = struct.unpack_from(f"<{dimensions}Q", key, 5 + site_bytes + dtype_bytes)
        identity = Identity(
            name(site), name(dtype), shape, site + b"\0", b"\0%s\0%s\0" % (dtype, ",".join(map(str, shape)).encode())
        )
        self._table.add(key, identity)
        return identity


def name(raw: bytes) -> str:
    """A name as it is stored. A name that is too long ends in its hash, so that names stay distinct; hashes of records use the
    name as it arrived."""
    whole = text(raw)
    if len(whole) <= SITE_BYTES_MAX and len(whole.encode("utf-8")) <= SITE_BYTES_MAX:
        return whole
    head = whole.encode("utf-8")[: SITE_BYTES_MAX - 40].decode("utf-8", "ignore")
    return f"{head}…{blake2b(raw, digest_size=16).hexdigest()}"


def text(raw: bytes) -> str:
    """Text that a protobuf string can hold: bytes that are not UTF-8 become \\xNN."""
    return raw.decode("utf-8", "backslashreplace")


def json_object(payload: bytes) -> dict[str, Any]:
    """A JSON payload as a mapping; bytes that are not UTF-8 become escapes. Raises ProtocolError for anything else, and for more
    than JSON_BYTES_MAX."""
    try:
        return parse_object(payload, "a payload", JSON_BYTES_MAX, repair=True, depth_max=JSON_DEPTH_MAX)
    except JsonError as error:
        raise ProtocolError(f"JSON that cannot be read: {error}") from None
