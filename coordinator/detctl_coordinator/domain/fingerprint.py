"""Fingerprints, the index over them and the seal, as values. Numbers of stages and phases are those of records.proto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from detctl_coordinator.domain.widths import U32, U64


class Stage(IntEnum):
    """The part of training that a value belongs to, in causal order (docs/concepts.md)."""

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
        """The name that outputs use: `listing`, `update`."""
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
    """One sequence of steps: a stage of a rank in a phase."""

    rank: U32
    stage: Stage
    phase: Phase = Phase.TRAIN


@dataclass(frozen=True)
class StepEntry:
    """The index of one step of one stream. digest, sum, chain: 16 bytes each (detctl_probe/transport/chain.py)."""

    ordinal: int
    step: int
    count: int
    digest: bytes
    sum: bytes
    chain: bytes


@dataclass(frozen=True)
class Fingerprint:
    """One record. Identity inside a rank: (stage, phase, step, site, occurrence); evidence is never compared."""

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
    """What the store knows of a segment without unpacking it."""

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
    """What one stream must add up to."""

    key: StreamKey
    steps: U64
    count: U64
    chain: bytes


@dataclass(frozen=True)
class Seal:
    """The last word of a rank. `detail`: observers, unobserved, interventions, facts, notes (detctl_probe/transport/frames.py)."""

    rank: U32
    segments: U32
    last_step: U32
    steps_finished: U32
    reason: str
    complete: bool
    streams: tuple[SealedStream, ...]
    detail: Mapping[str, Any] = field(default_factory=dict)
