"""Sends recorded folders to a coordinator, with segments as an agent sends them, and has them compared."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detctl_proto.security.redaction import redact_document, redact_text
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
    """A run that is ours. secret: proves that to the coordinator; it is not in the representation, so that it is not shown."""

    run_id: str
    attempt: int
    secret: str = field(repr=False)


def compare_recordings(
    coordinator: Coordinator,
    recordings: Sequence[Recording],
    report: Callable[[str], None] = lambda stage: None,
    *,
    strict: bool = False,
) -> str:
    """Returns the verdict on these folders as JSON. `strict`: a difference in evaluation counts. report: gets what is
    happening, for people.

    Raises CliError, with exit code 3 if data was refused."""
    labels = labels_of(recordings)
    run_ids = []
    for recording, label in zip(recordings, labels, strict=True):
        report(f"reading {clean(recording.folder)}")
        try:
            run_ids.append(send(coordinator, recording, label))
        except CliError as problem:
            if problem.code != "invalid":
                raise
            raise CliError(
                "damaged", f"{recording.folder}: {problem.message}", problem.hint, problem.exit_code
            ) from None
    report("comparing the recordings")
    return coordinator.compare(audits_pb2.CompareRequest(run_ids=run_ids, strict=strict))


def send(coordinator: Coordinator, recording: Recording, label: str) -> str:
    """Imports one folder under `label` and returns its run id."""
    run = redact_document({**recording.run, "label": label})  # recordings of earlier versions may contain credentials
    imported = coordinator.import_run(audits_pb2.ImportRequest(label=label, run_json=json.dumps(run)))
    send_as(coordinator, recording, RunHeld(imported.run_id, 1, imported.secret))
    return imported.run_id


def send_as(coordinator: Coordinator, recording: Recording, held: RunHeld, sent: int = 0) -> None:
    """Sends the records of a folder after the first `sent`, and how the run ended.

    Raises CliError, with exit code 3 if data was refused.
    """
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
    """Sends records of a spool as this run, and returns when the coordinator has them all. Raises CliError, which names `where`."""
    sent = acknowledged = 0
    problem: CliError | None = None

    def requests() -> Iterator[agents_pb2.IngestRequest]:
        nonlocal sent, problem
        for payload in payloads:
            try:
                request = agents_pb2.IngestRequest.FromString(payload)
            except DecodeError:
                # Raised here, it would be lost in gRPC's thread. The call ends instead, and the error is raised below.
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
            why = clean(reply.refused) or "the run is gone, or another user took it over"
            raise CliError("damaged", f"{where}: the coordinator refused the data: {why}", exit_code=Exit.UNVERIFIED)
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
    """Returns the verdict with `folders` (label -> folder as the user named it) and with damage among the reasons."""
    labels = labels_of(recordings)
    folders = {label: str(recording.folder) for label, recording in zip(labels, recordings, strict=True)}
    damage = [recording.damage for recording in recordings if recording.damage]
    reasons = [_in_terms_of_folders(str(reason), folders) for reason in verdict.get("unverified_because") or []]
    result = {**verdict, "folders": folders, "unverified_because": [*damage, *reasons]}
    recorded = dict(zip(labels, recordings, strict=True))
    result["runs"] = [_as_recorded(run, recorded) for run in verdict.get("runs") or []]
    if damage and verdict.get("outcome") == "identical":
        result["outcome"] = "unverified"
    return result


def _as_recorded(run: dict[str, Any], recorded: Mapping[str, Recording]) -> dict[str, Any]:
    """Returns the facts of a run with the time at which it was recorded, not that of its import."""
    recording = recorded.get(str(run.get("label")))
    started = recording.run.get("started_unix_s") if recording is not None else None
    took = recording.run.get("wall_s") if recording is not None else None
    return {
        **run,
        "created_unix_s": started if isinstance(started, (int, float)) else 0.0,
        "wall_s": took if isinstance(took, (int, float)) else 0.0,
    }


def _in_terms_of_folders(reason: str, folders: Mapping[str, str]) -> str:
    """Returns a reason that names folders instead of labels, and no id, since the temporary store no longer exists."""
    for label, folder in folders.items():
        reason = reason.replace(label, folder)
    return re.sub(r"[;,] see `detctl show [^`]*`", "", reason)


def _number(run: dict[str, Any], key: str) -> int:
    value = run.get(key)
    return value if isinstance(value, int) else 0
