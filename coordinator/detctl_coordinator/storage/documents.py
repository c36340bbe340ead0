"""Audits, runs and seals as JSON documents, and back.

A document names its schema (`detctl.audit/v1`). Within a version keys may be added: readers ignore keys that they do not know and
take defaults for those that are absent. The stdlib's json is used on purpose: it carries lone surrogates (file names that are not
UTF-8), which pydantic's does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.fingerprint import Phase, Seal, SealedStream, Stage, StreamKey
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.storage.store import StoreError

AUDIT_SCHEMA = "detctl.audit/v1"
SEAL_SCHEMA = "detctl.seal/v1"

Json = dict[str, Any]


class DocumentError(StoreError):
    """A stored document cannot be read: damaged, or written by a newer detctl."""


def audit_to_json(audit: Audit) -> Json:
    """The whole document of an audit, its runs inside."""
    request = audit.request
    return {
        "schema": AUDIT_SCHEMA,
        "audit_id": audit.audit_id,
        "state": audit.state.value,
        "version": audit.version,
        "created_unix_s": audit.created_unix_s,
        "stop_after_step": audit.stop_after_step,
        "message": audit.message,
        "verdict_json": audit.verdict_json,
        "trying": audit.trying,
        "request": {
            "recipe": request.recipe,
            "machines": list(request.machines),
            "environments": list(request.environments),
            "twins": request.twins,
            "step_from": request.step_from,
            "step_to": request.step_to,
            "to_end": request.to_end,
            "level": request.level,
            "set": [list(pair) for pair in request.set],
            "vary": [[name, list(values)] for name, values in request.vary],
            "requested_by": request.requested_by,
            "owner": request.owner,
            "budget_share": request.budget_share,
            "zoom": request.zoom,
            "explain": request.explain,
            "budget_runs": request.budget_runs,
            "self_test": request.self_test,
            "join_only": request.join_only,
        },
        "runs": [run_to_json(run) for run in audit.runs.values()],
    }


def audit_from_json(document: Mapping[str, Any]) -> Audit:
    """Inverse of `audit_to_json`. Raises DocumentError."""
    _expect(document, AUDIT_SCHEMA)
    try:
        raw = document["request"]
        request = AuditRequest(
            recipe=raw["recipe"],
            machines=tuple(raw["machines"]),
            **_present(
                raw,
                "twins",
                "step_from",
                "step_to",
                "to_end",
                "level",
                "requested_by",
                "owner",
                "budget_share",
                "zoom",
                "explain",
                "budget_runs",
                "self_test",
                "join_only",
            ),
            environments=tuple(raw.get("environments", ("default",))),
            set=tuple((name, value) for name, value in raw.get("set", ())),
            vary=tuple((name, tuple(values)) for name, values in raw.get("vary", ())),
        )
        runs = [run_from_json(item) for item in document.get("runs", ())]
        return Audit(
            audit_id=document["audit_id"],
            request=request,
            runs={run.spec.run_id: run for run in runs},
            state=AuditState(document["state"]),
            **_present(document, "created_unix_s", "version", "stop_after_step", "verdict_json", "message", "trying"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"an audit's document in the store is damaged: {error!r}") from error


def run_to_json(run: RunRecord) -> Json:
    """A run as it stands inside its audit's document, and as `show` prints it."""
    spec, outcome = run.spec, run.outcome
    return {
        "spec": {
            "run_id": spec.run_id,
            "audit_id": spec.audit_id,
            "recipe": spec.recipe,
            "machine": spec.arm.machine,
            "environment": spec.arm.environment,
            "variation": [list(pair) for pair in spec.arm.variation],
            "twin": spec.twin,
            "parameters": dict(spec.parameters),
            "variables": dict(spec.variables),
            "interventions": dict(spec.interventions),
            "level": spec.level,
            "step_from": spec.step_from,
            "step_to": spec.step_to,
            "expected_source_digest": spec.expected_source_digest,
            "budget_share": spec.budget_share,
            "purpose": spec.purpose,
        },
        "state": run.state.value,
        "attempt": run.attempt,
        "boot_id": run.boot_id,
        "step": run.step,
        "records": run.records,
        "created_unix_s": run.created_unix_s,
        "manifest": dict(run.manifest),
        "outcome": None
        if outcome is None
        else {
            "end": outcome.end,
            "exit_code": outcome.exit_code,
            "message": outcome.message,
            "output_tail": outcome.output_tail,
            "ranks": outcome.ranks,
            "wall_s": outcome.wall_s,
        },
        "message": run.message,
    }


def run_from_json(document: Mapping[str, Any]) -> RunRecord:
    """Inverse of `run_to_json`. Raises DocumentError."""
    try:
        raw, end = document["spec"], document.get("outcome")
        arm = Arm(
            machine=raw["machine"],
            environment=raw.get("environment", "default"),
            variation=tuple((name, value) for name, value in raw.get("variation", ())),
        )
        spec = RunSpec(
            run_id=raw["run_id"],
            audit_id=raw["audit_id"],
            recipe=raw["recipe"],
            arm=arm,
            twin=raw["twin"],
            **_present(raw, "parameters", "variables", "interventions", "level", "step_from", "step_to"),
            **_present(raw, "expected_source_digest", "budget_share", "purpose"),
        )
        outcome = end and RunOutcome(
            end=end["end"], **_present(end, "exit_code", "message", "output_tail", "ranks", "wall_s")
        )
        return RunRecord(
            spec=spec,
            state=RunState(document["state"]),
            outcome=outcome or None,
            **_present(document, "attempt", "boot_id", "step", "records", "created_unix_s", "manifest", "message"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"a run's document in the store is damaged: {error!r}") from error


def seal_to_json(seal: Seal) -> Json:
    """The last word of a rank; chains as hex."""
    return {
        "schema": SEAL_SCHEMA,
        "rank": seal.rank,
        "segments": seal.segments,
        "last_step": seal.last_step,
        "steps_finished": seal.steps_finished,
        "reason": seal.reason,
        "complete": seal.complete,
        "streams": [
            [
                stream.key.rank,
                int(stream.key.stage),
                int(stream.key.phase),
                stream.steps,
                stream.count,
                stream.chain.hex(),
            ]
            for stream in seal.streams
        ],
        "detail": dict(seal.detail),
    }


def seal_from_json(document: Mapping[str, Any]) -> Seal:
    """Inverse of `seal_to_json`. Raises DocumentError."""
    _expect(document, SEAL_SCHEMA)
    try:
        return Seal(
            rank=document["rank"],
            segments=document["segments"],
            last_step=document["last_step"],
            steps_finished=document["steps_finished"],
            reason=document["reason"],
            complete=document["complete"],
            streams=tuple(
                SealedStream(StreamKey(rank, Stage(stage), Phase(phase)), steps, count, bytes.fromhex(chain))
                for rank, stage, phase, steps, count, chain in document["streams"]
            ),
            detail=document.get("detail", {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"a seal in the store is damaged: {error!r}") from error


def dump(document: Mapping[str, Any]) -> str:
    """Compact ASCII JSON (lone surrogates escaped)."""
    return json.dumps(document, separators=(",", ":"))


def load(text: str | bytes) -> Json:
    """Inverse of `dump`. Raises DocumentError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"a document in the store is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DocumentError("a document in the store is not a JSON object")
    return value


def _present(raw: Mapping[str, Any], *names: str) -> Json:
    """The named keys that are there; the others keep the defaults of their dataclass."""
    return {name: raw[name] for name in names if name in raw}


def _expect(document: Mapping[str, Any], schema: str) -> None:
    found = str(document.get("schema", "no schema"))
    if found != schema:
        raise DocumentError(f"the store holds a document of {found}; this detctl reads {schema}: upgrade detctl")
