"""Limits of stored data that all backends check, because agents are not trusted."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_proto.limits import RANK_MAX

from detctl_coordinator.domain.fingerprint import SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.storage.store import RejectedDataError

SEGMENT_BYTES_MAX = 16 << 20  # of compressed columns; agents send at most 256 KiB, a message may have 4 MiB
NUMBER_MAX = 1 << 31
ORDINAL_MAX = 8_000_000  # Redis keeps the index of a stream in one string, and a string ends at 512 MiB
ORDINAL_GAP_MAX = (
    65_536  # an entry may arrive before earlier ones (replicas reorder), but must not allocate memory for a large gap
)


def check_segment(meta: SegmentMeta, columns: bytes, closed: Sequence[tuple[StreamKey, StepEntry]]) -> None:
    """Raises RejectedDataError if a segment or one of its entries is out of bounds or malformed."""
    if not (0 <= meta.rank < RANK_MAX and 0 <= meta.number < NUMBER_MAX):
        raise RejectedDataError(f"segment {meta.number} of rank {meta.rank}: number or rank is out of bounds")
    if len(columns) > SEGMENT_BYTES_MAX:
        raise RejectedDataError(f"segment {meta.number} has {len(columns)} bytes; the limit is {SEGMENT_BYTES_MAX}")
    if meta.bytes != len(columns):
        raise RejectedDataError(f"segment {meta.number} has {len(columns)} bytes, but its header gives {meta.bytes}")
    seen: dict[tuple[StreamKey, int], StepEntry] = {}
    for key, entry in closed:
        if seen.setdefault((key, entry.ordinal), entry) != entry:
            stream = f"{key.stage.word}/{key.phase.word}"
            raise RejectedDataError(
                f"segment {meta.number} contains entry {entry.ordinal} of {stream} twice, with different content"
            )
        if key.rank != meta.rank:
            raise RejectedDataError(f"segment {meta.number} of rank {meta.rank} contains an entry of rank {key.rank}")
        if not (0 <= entry.ordinal < ORDINAL_MAX and 0 <= entry.step < 1 << 32 and 0 <= entry.count < 1 << 32):
            raise RejectedDataError(
                f"segment {meta.number}: entry {entry.ordinal} (step {entry.step}) is out of bounds"
            )
        if not len(entry.digest) == len(entry.sum) == len(entry.chain) == 16:
            raise RejectedDataError(
                f"segment {meta.number}: entry {entry.ordinal} has a digest that is not 16 bytes long"
            )


def check_gap(ordinal: int, gapless: int) -> None:
    """Raises RejectedDataError if an entry is too far ahead of the `gapless` entries that its stream has."""
    if ordinal > gapless + ORDINAL_GAP_MAX:
        raise RejectedDataError(f"entry {ordinal} is too far ahead: its stream has {gapless} entries")
