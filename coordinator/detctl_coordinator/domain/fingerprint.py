"""Fingerprints, their index, and seals. Numbers of stages and phases are those of records.proto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from detctl_coordinator.domain.widths import U32, U64


class Stage(IntEnum):
    """The stage of training that a value belongs to, in causal order (docs/concepts.md)."""

    CODE = 0
    LISTING = 1
    FILES = 2
    RNG = 3
    INIT = 4
    ORDER = 5
    SAMPLE = 6
    BATCH = 7
    FORWARD = 8
    LOSS = 9
    BACKWARD = 10
    COLLECTIVE = 11
    UPDATE = 12
    ARTIFACT = 13

    @property
    def word(self) -> str:
        """The displayed name, such as `listing` or `update`."""
        return self.name.lower()


class Phase(IntEnum):
    """Training or evaluation."""

    TRAIN = 0
    EVAL = 1

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, order=True)
class StreamKey:
    """A stream, which is the sequence of steps of one stage of one rank in one phase."""

    rank: U32
    stage: Stage
    phase: Phase = Phase.TRAIN


@dataclass(frozen=True)
class StepEntry:
    """The index entry of one step of one stream. `digest`, `sum`, `chain`: 16 bytes each (detctl_probe/transport/chain.py)."""

    ordinal: int
    step: int
    count: int
    digest: bytes
    sum: bytes
    chain: bytes


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of one value. Its identity in a rank is (stage, phase, step, site, occurrence). Evidence is never compared."""

    sequence: int
    stage: Stage
    phase: Phase
    step: int
    micro: int
    site: str
    occurrence: int
    dtype: str
    shape: tuple[int, ...]
    digest: bytes
    order_blind: bytes | None = None
    rows: tuple[bytes, ...] | None = None
    sketch: tuple[float, ...] | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentMeta:
    """The facts about a segment that the store keeps beside its packed content."""

    rank: int
    number: int
    scheme: str
    level: str
    record_count: int
    first_step: int
    last_step: int
    crc32: int
    bytes: int


@dataclass(frozen=True)
class SealedStream:
    """The totals of one stream in a seal, with which stored data must agree."""

    key: StreamKey
    steps: U64
    count: U64
    chain: bytes


@dataclass(frozen=True)
class Seal:
    """The last message of a rank. `detail`: observers, unobserved, interventions, facts, notes (detctl_probe/transport/frames.py)."""

    rank: U32
    segments: U32
    last_step: U32
    steps_finished: U32
    reason: str
    complete: bool
    streams: tuple[SealedStream, ...]
    detail: Mapping[str, Any] = field(default_factory=dict)
