"""Reads the seals of a recording: what each rank observed, and what recording cost."""

from __future__ import annotations

import sys
from typing import Any

from detctl_proto.outside_json import JsonError, parse_object
from detctl_proto.v1 import agents_pb2, records_pb2
from google.protobuf.message import DecodeError

from detctl_cli.recordings.folder import Recording


def seals_of(recording: Recording) -> dict[str, dict[str, Any]]:
    """Returns the seal of each rank, by its number. A rank whose seal is missing or damaged is left out."""
    found = {}
    for payload in recording.payloads():
        try:
            request = agents_pb2.IngestRequest.FromString(payload)
            if request.WhichOneof("kind") != "seal":
                continue
            detail = parse_object(request.seal.detail_json or "{}", "its detail", sys.maxsize, repair=True)
        except (DecodeError, JsonError):
            continue
        found[str(request.seal.rank)] = {
            "rank": request.seal.rank,
            "reason": request.seal.reason,
            "complete": request.seal.complete,
            "steps_finished": request.seal.steps_finished,
            "streams": {_name(total): {"count": total.count} for total in request.seal.streams},
            "detail": detail,
        }
    return found


def _name(stream: records_pb2.StreamTotal) -> str:
    """Returns `forward/train`, the name by which the coordinator shows a stream."""
    stage, phase = records_pb2.Stage.Name(stream.stage), records_pb2.Phase.Name(stream.phase)
    return f"{stage.removeprefix('STAGE_').lower()}/{phase.removeprefix('PHASE_').lower()}"
