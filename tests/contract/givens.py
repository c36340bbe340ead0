"""Audits, runs, segments and seals to put into a store; all follow from their arguments."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from random import Random

from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.fingerprint import Seal, SealedStream, SegmentMeta, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import Arm, RunRecord, RunSpec, RunState
from detctl_coordinator.storage.store import Store

FORWARD = StreamKey(0, Stage.FORWARD)
LOSS = StreamKey(0, Stage.LOSS)
Closed = list[tuple[StreamKey, StepEntry]]


def a_run(run_id: str = "run-1", audit_id: str = "audit-1", machine: str = "gpu1", **changes: object) -> RunRecord:
    spec = RunSpec(
        run_id, audit_id, str(changes.pop("recipe", "digits")), Arm(machine), twin=0, parameters={"seed": "0"}
    )
    return replace(RunRecord(spec, created_unix_s=1000.0), **changes)  # type: ignore[arg-type]


def an_audit(*runs: RunRecord, audit_id: str = "audit-1", created: float = 1000.0, **changes: object) -> Audit:
    request = AuditRequest("digits", ("gpu1", "gpu2"), vary=(("workers", ("0", "2")),))
    audit = Audit(audit_id, request, {run.spec.run_id: run for run in runs}, created_unix_s=created)
    return replace(audit, **changes)  # type: ignore[arg-type]


def opened(store: Store, run_id: str = "run-1", attempt: int = 1) -> None:
    """An audit with one run whose attempt is open."""
    store.put_audit(an_audit(a_run(run_id, f"audit-of-{run_id}"), audit_id=f"audit-of-{run_id}"))
    store.open_attempt(run_id, attempt)


def ended(store: Store, audit: Audit) -> Audit:
    """The audit done, its runs sealed."""
    runs = {run_id: replace(run, state=RunState.SEALED) for run_id, run in audit.runs.items()}
    return store.put_audit(replace(audit, runs=runs, state=AuditState.DONE))


def an_entry(ordinal: int, seed: int = 0, count: int = 3) -> StepEntry:
    digests = [blake2b(f"{seed} {ordinal} {lane}".encode(), digest_size=16).digest() for lane in range(3)]
    return StepEntry(ordinal, ordinal * 2, count, *digests)


def a_segment(
    number: int, rank: int = 0, size: int = 2000, steps: int = 2, seed: int = 0
) -> tuple[SegmentMeta, bytes, Closed]:
    """Segment `number` of a rank that closes `steps` steps of two streams; its bytes follow from its arguments."""
    columns = Random(f"{number} {rank} {size} {seed}").randbytes(size)
    ordinals = range(number * steps, (number + 1) * steps)
    meta = SegmentMeta(
        rank, number, "n6.v1", "module", 6 * steps, ordinals[0] * 2, ordinals[-1] * 2, zlib.crc32(columns), len(columns)
    )
    closed = [
        (StreamKey(rank, stage), an_entry(ordinal, seed))
        for ordinal in ordinals
        for stage in (Stage.FORWARD, Stage.LOSS)
    ]
    return meta, columns, closed


def a_seal(rank: int = 0, segments: int = 1, streams: Sequence[SealedStream] = ()) -> Seal:
    detail = {"observers": {"modules": {"stage": "forward", "fired": 3}}, "cost_s": 0.5}
    return Seal(rank, segments, 3, 4, "window", True, tuple(streams), detail)
