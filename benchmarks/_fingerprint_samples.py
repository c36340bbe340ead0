"""Makes segments like those of a real training: a ResNet-like step of 60 sites, random digests, 4,096 fingerprints in each segment."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, SegmentMeta, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import Arm, RunRecord, RunSpec
from detctl_coordinator.storage.reading.columns import pack
from detctl_coordinator.storage.store import Store

RECORDS = 4096
SITES = 60
BATCH = 32  # samples per step; the batch's fingerprint has one digest per row
SHAPES = ((BATCH, 64, 16, 16), (BATCH, 128, 8, 8), (BATCH, 256, 4, 4), (64, 64, 3, 3), (512,), (10, 512))
# Fingerprints of a step: what level `module` keeps of a convolutional net.
STEP = (
    [(Stage.RNG, f"{name}", "py:str", ()) for name in ("random", "numpy", "torch")]
    + [(Stage.ORDER, "loader1", "int64", (BATCH,))]
    + [(Stage.SAMPLE, f"transform{i % 3}", "float32", (3, 32, 32)) for i in range(BATCH)]
    + [(Stage.BATCH, name, "float32", (BATCH, 3, 32, 32)) for name in ("0", "1")]
    + [(Stage.FORWARD, f"root1/layer{i % 4}.{i}.conv", "float32", SHAPES[i % 6]) for i in range(SITES)]
    + [(Stage.LOSS, "loss", "float32", ())]
    + [(Stage.BACKWARD, f"layer{i % 4}.{i}.weight", "float32", SHAPES[i % 6]) for i in range(SITES)]
    + [(Stage.UPDATE, f"layer{i % 4}.{i}.weight", "float32", SHAPES[i % 6]) for i in range(SITES)]
)

Sample = tuple[SegmentMeta, bytes, list[tuple[StreamKey, StepEntry]]]


@dataclass
class _Open:
    """The segment that is being filled: its fingerprints, and the entries of the steps that ended in it."""

    records: list[Fingerprint] = field(default_factory=list)
    closed: list[tuple[StreamKey, StepEntry]] = field(default_factory=list)


def segments(count: int) -> Iterator[Sample]:
    """Returns `count` segments of one rank, numbered from 0."""
    part, number, sequence, step = _Open(), 0, 0, 0
    while True:
        for stage, site, dtype, shape in STEP:
            blind = os.urandom(16) if stage in (Stage.ORDER, Stage.BATCH) else None
            rows = tuple(os.urandom(16) for _ in range(BATCH)) if stage == Stage.BATCH else None
            part.records.append(
                Fingerprint(sequence, stage, Phase.TRAIN, step, 0, site, 0, dtype, shape, os.urandom(16), blind, rows)
            )
            sequence += 1
            if len(part.records) == RECORDS:
                yield _segment(part, number)
                part, number = _Open(), number + 1
                if number == count:
                    return
        for stage in dict.fromkeys(item[0] for item in STEP):
            many = sum(item[0] == stage for item in STEP)
            digests = os.urandom(16), os.urandom(16), os.urandom(16)
            part.closed.append((StreamKey(0, stage), StepEntry(step, step, many, *digests)))
        step += 1


def _segment(part: _Open, number: int) -> Sample:
    data = pack(part.records)
    first, last = part.records[0].step, part.records[-1].step
    crc = zlib.crc32(data)
    return SegmentMeta(0, number, "n6.v1", "module", len(part.records), first, last, crc, len(data)), data, part.closed


def open_run(store: Store, run_id: str) -> None:
    """Stores an audit with one run, whose first attempt may write."""
    run = RunRecord(RunSpec(run_id, f"audit-{run_id}", "bench", Arm("gpu1"), 0), created_unix_s=1.0)
    store.put_audit(Audit(f"audit-{run_id}", AuditRequest("bench", ("gpu1",)), {run_id: run}, created_unix_s=1.0))
    store.open_attempt(run_id, 1)
