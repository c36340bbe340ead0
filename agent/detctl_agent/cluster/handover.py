"""The files in the run's folder through which the agent and the recorder of a Job communicate. Each is written whole.


order.json      agent: the run, with all values filled in, and its source, which lies in work/
progress.json   recorder, twice a second: how much of the spool is on disk, and how far the training is
end.json        agent: {"reason": "cancelled", "message": "…", "grace_s": 10.0 | null}
stop.json       agent: {"after_step": 3}
outcome.json    recorder, at the end: how the run ended; manifest.json is written before it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from detctl_proto.recordings.run_documents import MANIFEST_BYTES_MAX
from detctl_proto.security.redaction import RecordingKey
from pydantic import TypeAdapter, ValidationError

from detctl_agent.catalog.admission import Admitted, Order
from detctl_agent.catalog.recipe import Environment, Recipe
from detctl_agent.errors import AgentError
from detctl_agent.recording.observed import Observed
from detctl_agent.recording.recording_key import recording_key
from detctl_agent.runs.outcome import Outcome, Progress
from detctl_agent.source.run_source import RunSource
from detctl_agent.source.source import Source
from detctl_agent.state.run_folder import RunFolder

T = TypeVar("T")
_PROGRESS, _OUTCOME = TypeAdapter(Progress), TypeAdapter(Outcome)
ORDER, PROGRESS, END, STOP, OUTCOME = "order.json", "progress.json", "end.json", "stop.json", "outcome.json"


@dataclass(frozen=True)
class HandedOver:
    """The run, its source in work/, the machine's name, and the key of the digests in its manifest."""

    admitted: Admitted
    source: RunSource
    machine: str
    key: RecordingKey


def write_order(folder: RunFolder, admitted: Admitted, source: RunSource, machine: str) -> None:
    """Raises DiskFullError or AgentError."""
    # The training sees this folder, so it gets the key of its own audit, not the user's.
    key = recording_key().derived(f"audit {admitted.order.audit_id}")
    folder.write(
        ORDER,
        {
            "machine": machine,
            "order": asdict(admitted.order),
            "recipe": admitted.recipe.model_dump(mode="json", by_alias=True),
            "environment": admitted.environment.model_dump(mode="json"),
            "parameters": dict(admitted.parameters),
            "recording_key": key.secret.hex(),
            "source": {
                "digest": source.found.digest,
                "git_commit": source.found.git_commit,
                "origin": str(source.origin),
            },
        },
    )


def read_order(folder: RunFolder) -> HandedOver:
    """Raises AgentError."""
    raw = _read(folder, ORDER)
    if raw is None:
        raise AgentError(f"{folder.root / ORDER} is missing: only an agent that launches Jobs starts this command")
    admitted = Admitted(
        Order(**raw["order"]),
        Recipe.model_validate(raw["recipe"]),
        Environment.model_validate(raw["environment"]),
        raw["parameters"],
    )
    found = Source(folder.work, raw["source"]["digest"], (), 0, raw["source"]["git_commit"])
    source = RunSource(found, Path(raw["source"]["origin"]), folder.work)
    key = raw.get("recording_key")  # an agent of an earlier version writes none
    return HandedOver(admitted, source, raw["machine"], RecordingKey(bytes.fromhex(key)) if key else recording_key())


def write_progress(folder: RunFolder, progress: Progress) -> None:
    """Raises DiskFullError or AgentError."""
    folder.write(PROGRESS, asdict(progress))


def read_progress(folder: RunFolder) -> Progress | None:
    """None before the recorder has written any."""
    return _typed(_PROGRESS, _read(folder, PROGRESS))


def write_outcome(folder: RunFolder, outcome: Outcome) -> None:
    """Raises DiskFullError or AgentError. What the training opened stays behind: its files lie in the container, not here."""
    written = asdict(replace(outcome, observed=Observed()))
    del written["observed"]
    folder.write(OUTCOME, written)


def read_outcome(folder: RunFolder) -> Outcome | None:
    """None while the run goes on."""
    return _typed(_OUTCOME, _read(folder, OUTCOME))


def read_wish(folder: RunFolder, name: str) -> Mapping[str, Any] | None:
    """END or STOP, as the agent wrote it."""
    return _read(folder, name)


def _read(folder: RunFolder, name: str) -> dict[str, Any] | None:
    return folder.read(name, MANIFEST_BYTES_MAX) or None  # not there yet; writes are atomic, so never half of one


def _typed(kind: TypeAdapter[T], raw: Mapping[str, Any] | None) -> T | None:
    """None also for values of other types: a training sees this folder, and could write into it."""
    try:
        return None if raw is None else kind.validate_json(json.dumps(raw), strict=True)
    except ValidationError:
        return None
