"""Recorded folders into a coordinator: registered, their segments sent as an agent would, and compared."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detctl_proto.redaction import redact_document, redact_text
from detctl_proto.v1 import agents_pb2, audits_pb2
from google.protobuf.message import DecodeError

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean
from detctl_cli.recordings.folder import Recording
from detctl_cli.recordings.labels import labels_of
from detctl_cli.service.client import Coordinator


@dataclass(frozen=True)
class RunHeld:
    """A run that is ours. `secret`: what the coordinator gave us for it; shown to nobody else, hence not in the representation."""

    run_id: str
    attempt: int
    secret: str = field(repr=False)


def compare_recordings(coordinator: Coordinator, recordings: Sequence[Recording]) -> str:
    """The verdict's JSON over these folders. Raises CliError; 3 where data was refused."""
    labels = labels_of(recordings)
    run_ids = []
    for recording, label in zip(recordings, labels, strict=True):
        try:
            run_ids.append(send(coordinator, recording, label))
        except CliError as problem:
            if problem.code != "invalid":
                raise
            raise CliError(
                "damaged", f"{recording.folder}: {problem.message}", problem.hint, problem.exit_code
            ) from None
    return coordinator.compare(audits_pb2.CompareRequest(run_ids=run_ids))


def send(coordinator: Coordinator, recording: Recording, label: str) -> str:
    """Imports one folder under `label` and returns its run id."""
    run = redact_document({**recording.run, "label": label})  # recordings of earlier versions hold credentials
    imported = coordinator.import_run(audits_pb2.ImportRequest(label=label, run_json=json.dumps(run)))
    send_as(coordinator, recording, RunHeld(imported.run_id, 1, imported.secret))
    return imported.run_id


def send_as(coordinator: Coordinator, recording: Recording, held: RunHeld, sent: int = 0) -> None:
    """Sends what a folder holds as this run but for its first `sent` records, and how it ended. Raises CliError; 3 where data was
    refused."""
    run = recording.run
    ingest(coordinator, itertools.islice(recording.payloads(), sent, None), held, str(recording.folder))
    coordinator.finish_import(
        audits_pb2.ImportFinished(
            run_id=held.run_id,
            manifest_json=json.dumps(recording.manifest),
            exit_code=_number(run, "exit_code"),
            end=clean(run.get("end") or "lost"),
            message=clean(redact_text(str(run.get("message") or ""))),
            ranks=max(_number(run, "ranks"), 0),
            output_tail=recording.output_tail,
            attempt=held.attempt,
            secret=held.secret,
        )
    )


def ingest(coordinator: Coordinator, payloads: Iterable[bytes], held: RunHeld, where: str) -> None:
    """Sends records of a spool as parts of this run; returns when the coordinator has them all. Raises CliError, which names `where`."""
    sent = acknowledged = 0
    problem: CliError | None = None

    def requests() -> Iterator[agents_pb2.IngestRequest]:
        nonlocal sent, problem
        for payload in payloads:
            try:
                request = agents_pb2.IngestRequest.FromString(payload)
            except DecodeError:
                # Raised here, it would end in gRPC's thread: the call ends, and it is raised below.
                problem = CliError(
                    "damaged", f"{where}: record {sent} of its spool is not a message", exit_code=Exit.UNVERIFIED
                )
                return
            kind = request.WhichOneof("kind")
            if kind is None:
                continue
            part = request.segment if kind == "segment" else request.seal
            part.run_id, part.attempt = held.run_id, held.attempt
            request.secret = held.secret
            sent += 1
            yield request

    for reply in coordinator.ingest(requests()):
        if reply.refused or reply.fenced:
            why = clean(reply.refused) or "the run is gone, or somebody took it over"
            raise CliError("damaged", f"{where}: refused by the coordinator: {why}", exit_code=Exit.UNVERIFIED)
        acknowledged += 1
    if problem is not None:
        raise problem
    if acknowledged < sent:
        raise CliError(
            "damaged",
            f"{where}: {sent - acknowledged} of {sent} messages were not acknowledged",
            "compare again",
            Exit.UNVERIFIED,
        )


def with_folders(verdict: dict[str, Any], recordings: Sequence[Recording]) -> dict[str, Any]:
    """The verdict with `folders`: label -> folder as the user named it, and what was damaged among the reasons."""
    labels = labels_of(recordings)
    folders = {label: str(recording.folder) for label, recording in zip(labels, recordings, strict=True)}
    damage = [recording.damage for recording in recordings if recording.damage]
    reasons = [_in_terms_of_folders(str(reason), folders) for reason in verdict.get("unverified_because") or []]
    result = {**verdict, "folders": folders, "unverified_because": [*damage, *reasons]}
    if damage and verdict.get("outcome") == "identical":
        result["outcome"] = "unverified"
    return result


def _in_terms_of_folders(reason: str, folders: Mapping[str, str]) -> str:
    """The temporary store is gone when the reason is read: folders instead of labels, and no id to look at."""
    for label, folder in folders.items():
        reason = reason.replace(label, folder)
    return re.sub(r"[;,] see `detctl show [^`]*`", "", reason)


def _number(run: dict[str, Any], key: str) -> int:
    value = run.get(key)
    return value if isinstance(value, int) else 0
