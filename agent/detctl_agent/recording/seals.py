"""The seal of a rank, as the coordinator gets it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from detctl_proto.v1 import records_pb2

from detctl_agent.recording.process import Process

DETAIL_BYTES_MAX = 1024 * 1024
HELPERS_MAX = 50


def seal_of(process: Process, run_id: str, attempt: int, detail: str) -> records_pb2.Seal:
    """Returns the seal of a process that has sealed or is lost."""
    assert process.packer is not None
    return records_pb2.Seal(
        run_id=run_id,
        attempt=attempt,
        rank=process.rank or 0,
        segments=process.packer.number,
        last_step=process.last_step,
        steps_finished=process.steps_finished,
        reason=process.sealed,
        complete=process.sealed != "lost" and not process.trouble,
        streams=[
            records_pb2.StreamTotal(
                stage=records_pb2.Stage.Name(total.stage),
                phase=records_pb2.Phase.Name(total.phase),
                steps=total.steps,
                count=total.count,
                chain=total.chain,
            )
            for total in process.folding.totals()
        ],
        detail_json=detail,
    )


def seal_detail(
    process: Process, seal: dict[str, Any], notes: list[dict[str, Any]], processes: Sequence[Process]
) -> str:
    """Returns the content of the probe's seal beside its streams, as JSON. notes: of other processes, which it carries too."""
    notes = [*process.notes, *notes]
    detail = {key: value for key, value in seal.items() if key not in ("streams", "facts")}
    detail["facts"] = process.facts
    detail["notes"] = notes
    detail["process"] = {key: process.hello.get(key) for key in ("pid", "role", "argv", "rank", "world_size")}
    if process.trouble:
        detail["mismatch"] = process.trouble
    detail["non_training"] = [
        {key: other.hello.get(key) for key in ("pid", "role", "argv")}
        for other in processes
        if other.hello and other.is_helper
    ][:HELPERS_MAX]
    encoded = json.dumps(detail)
    while len(encoded) > DETAIL_BYTES_MAX and notes:
        notes = detail["notes"] = notes[: len(notes) // 2]
        encoded = json.dumps(detail)
    return encoded if len(encoded) <= DETAIL_BYTES_MAX else json.dumps({"mismatch": "the probe's detail is too large"})
