"""Names of keys, and the layout of packed values.

Audits and their indexes share one hash slot, and the keys of one run share another. One step changes an audit, its indexes and the
closed attempts of its runs, so a single primary must hold all keys. Every key begins with `detctl:`, which is the pattern for an ACL
user: `~detctl:* +@read +@write +@connection +@scripting -@dangerous +info`.

    detctl:{audits}:schema                       2
    detctl:{audits}:audit:ID                     hash: version, token (of the last writer), document (JSON)
    detctl:{audits}:active                       set of audit ids
    detctl:{audits}:by-time                      sorted set of audit ids by creation
    detctl:{audits}:runs                         hash: run id -> JSON [audit id, machine, recipe]
    detctl:{audits}:runs-by-time                 sorted set of run ids by creation
    detctl:{audits}:deleted                      set of run ids whose data must still be unlinked
    detctl:machines                              hash: name -> JSON
    detctl:tokens                                hash: token id -> JSON
    detctl:{log}:entries                         list of JSON, oldest first; entry N is at N - 1
    detctl:{log}:keys                            set of keys of its entries
    detctl:{run:ID}:state                        hash: attempt; closed, the last attempt that accepts no new data (since schema 2);
                                                 stale:N for attempts whose data must still be unlinked
    detctl:{run:ID}:ATTEMPT:ranks                set of ranks
    detctl:{run:ID}:ATTEMPT:metas:RANK           hash: number -> packed SegmentMeta
    detctl:{run:ID}:ATTEMPT:segment:RANK:NUMBER  columns as they were sent
    detctl:{run:ID}:ATTEMPT:streams              hash: RANK:STAGE:PHASE -> entries without a gap
    detctl:{run:ID}:ATTEMPT:index:RANK:STAGE:PHASE   entries, 60 bytes each, at ordinal * 60
    detctl:{run:ID}:ATTEMPT:seals                hash: rank -> JSON
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from detctl_coordinator.domain.fingerprint import Phase, SegmentMeta, Stage, StepEntry, StreamKey

SCHEMA_VERSION = 2

SCHEMA = "detctl:{audits}:schema"
ACTIVE = "detctl:{audits}:active"
BY_TIME = "detctl:{audits}:by-time"
RUNS = "detctl:{audits}:runs"
RUNS_BY_TIME = "detctl:{audits}:runs-by-time"
DELETED = "detctl:{audits}:deleted"
MACHINES = "detctl:machines"
TOKENS = "detctl:tokens"
LOG = "detctl:{log}:entries"
LOG_KEYS = "detctl:{log}:keys"

# ordinal + 1 (0 marks a gap), step, count, digest, sum, chain
_ENTRY = struct.Struct("<III16s16s16s")
ENTRY_BYTES = _ENTRY.size
# record_count, first_step, last_step, crc32, bytes; then scheme, NUL, level
_META = struct.Struct("<QIIIQ")


def audit_key(audit_id: str) -> str:
    return f"detctl:{{audits}}:audit:{audit_id}"


def state_key(run_id: str) -> str:
    return f"detctl:{{run:{run_id}}}:state"


def data_key(run_id: str, attempt: int, *parts: str | int) -> str:
    """Returns a key of one attempt: `data_key(run, 1, "metas", rank)`."""
    return f"detctl:{{run:{run_id}}}:{attempt}:{':'.join(map(str, parts))}"


def stream_field(key: StreamKey) -> str:
    return f"{key.rank}:{int(key.stage)}:{int(key.phase)}"


def stream_of(field: str) -> StreamKey:
    rank, stage, phase = map(int, field.split(":"))
    return StreamKey(rank, Stage(stage), Phase(phase))


def pack_entry(entry: StepEntry) -> bytes:
    return _ENTRY.pack(entry.ordinal + 1, entry.step, entry.count, entry.digest, entry.sum, entry.chain)


def unpack_entries(data: bytes, first: int) -> list[StepEntry]:
    """Returns the entries from ordinal `first` up to the first gap."""
    found: list[StepEntry] = []
    for tag, step, count, digest, total, chain in _ENTRY.iter_unpack(data[: len(data) - len(data) % ENTRY_BYTES]):
        if tag != first + len(found) + 1:
            break
        found.append(StepEntry(tag - 1, step, count, digest, total, chain))
    return found


def pack_meta(meta: SegmentMeta) -> bytes:
    head = _META.pack(meta.record_count, meta.first_step, meta.last_step, meta.crc32, meta.bytes)
    return head + f"{meta.scheme}\0{meta.level}".encode()


def unpack_meta(rank: int, number: int, data: bytes) -> SegmentMeta:
    count, first, last, crc32, size = _META.unpack_from(data)
    scheme, _, level = data[_META.size :].decode().partition("\0")
    return SegmentMeta(rank, number, scheme, level, count, first, last, crc32, size)


def texts_by_name(found: Mapping[bytes, bytes]) -> list[tuple[str, bytes]]:
    """Returns the fields of a hash of documents, by name."""
    return [(name.decode("utf-8", "backslashreplace"), text) for name, text in sorted(found.items())]
