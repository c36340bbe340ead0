"""Segments and seals of made-up runs that fold as real ones do (detctl_probe/transport/chain.py is the one definition)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from detctl_probe.transport import chain
from detctl_proto.v1 import records_pb2 as pb

STAGES = (
    pb.STAGE_LISTING,
    pb.STAGE_INIT,
    pb.STAGE_BATCH,
    pb.STAGE_FORWARD,
    pb.STAGE_LOSS,
    pb.STAGE_BACKWARD,
    pb.STAGE_UPDATE,
)


@dataclass(frozen=True)
class Sample:
    """What one rank of one run sends."""

    segments: list[pb.Segment]
    seal: pb.Seal


def make(
    run_id: str, attempt: int, *, steps: int = 4, differs_from_step: int | None = None, salt: str = "", rank: int = 0
) -> Sample:
    """One record a stage and step, one segment a step. `salt` changes every value from batch on at `differs_from_step`."""
    chains: dict[int, bytes] = {}
    totals: dict[int, int] = {}
    segments = []
    sequence = 0
    for step in range(steps):
        columns = pb.RecordColumns(shapes=[pb.Shape(sizes=[2])])
        closed = []
        for stage in STAGES:
            if stage in (pb.STAGE_LISTING, pb.STAGE_INIT) and step:
                continue
            word = pb.Stage.Name(stage).removeprefix("STAGE_").lower()
            changed = differs_from_step is not None and step >= differs_from_step and stage >= pb.STAGE_BATCH
            value = f"{word}.{step}" + (salt if changed else "")
            digest = blake2b(value.encode(), digest_size=16).digest()
            site = f"{word}/x"
            _append(columns, sequence, stage, step, site, digest)
            sequence += 1
            fold = chain.StepFold()
            fold.take(chain.record_hash(site, 0, "float32", (2,), digest))
            ordinal = totals.get(stage, 0)
            chains[stage] = chain.chain(chains.get(stage, chain.ZERO), step, fold.digest)
            totals[stage] = ordinal + 1
            closed.append(
                pb.StepEntry(
                    stage=stage,
                    ordinal=ordinal,
                    step=step,
                    count=1,
                    digest=fold.digest,
                    sum=fold.sum,
                    chain=chains[stage],
                )
            )
        segments.append(pack(run_id, attempt, rank, step, columns, step, closed))
    streams = [pb.StreamTotal(stage=s, steps=totals[s], count=totals[s], chain=chains[s]) for s in STAGES]
    observers = {"modules": {"stage": "forward", "installed": True, "fired": steps, "failed": None}}
    seal = pb.Seal(
        run_id=run_id,
        attempt=attempt,
        rank=rank,
        segments=len(segments),
        last_step=steps - 1,
        steps_finished=steps,
        reason="window",
        complete=True,
        streams=streams,
        detail_json=json.dumps({"observers": observers, "unobserved": [], "interventions": [], "notes": []}),
    )
    return Sample(segments, seal)


def pack(
    run_id: str,
    attempt: int,
    rank: int,
    number: int,
    columns: pb.RecordColumns,
    step: int,
    closed: Iterable[pb.StepEntry] = (),
) -> pb.Segment:
    """A segment around columns."""
    packed = zlib.compress(columns.SerializeToString())
    return pb.Segment(
        run_id=run_id,
        attempt=attempt,
        rank=rank,
        number=number,
        scheme="n6.v1",
        level="module",
        record_count=len(columns.stage),
        first_step=step,
        last_step=step,
        columns=packed,
        crc32=zlib.crc32(packed),
        closed=list(closed),
    )


def _append(columns: pb.RecordColumns, sequence: int, stage: int, step: int, site: str, digest: bytes) -> None:
    first = not columns.stage
    columns.sequence_delta.append(sequence if first else 1)
    columns.stage.append(stage)
    columns.phase.append(0)
    columns.step_delta.append(step if first else 0)
    columns.micro.append(0)
    for name in (site, "float32"):
        if name not in columns.names:
            columns.names.append(name)
    columns.site.append(list(columns.names).index(site))
    columns.dtype.append(list(columns.names).index("float32"))
    columns.occurrence.append(0)
    columns.shape.append(0)
    columns.digests += digest
