"""Audits, runs and seals as JSON documents, and back.

A document names its schema (`detctl.audit/v1`). Within a version keys may be added: readers ignore keys that they do not know and
take defaults for those that are absent. What `load` returns holds no text that a message cannot carry: an older detctl stored lone
surrogates (file names that are not UTF-8), which come back as their escapes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from detctl_proto.outside_json import DEPTH_MAX, JsonError, parse_object
from detctl_proto.outside_json import dump as dump_json

from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.fingerprint import Phase, Seal, SealedStream, Stage, StreamKey
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.storage.schemas import checked_audit, checked_seal
from detctl_coordinator.storage.store import DocumentError, NamedRows, RejectedDataError, Rows, Unreadable

__all__ = ["DocumentError"]

AUDIT_SCHEMA = "detctl.audit/v1"
SEAL_SCHEMA = "detctl.seal/v1"

# What a door let in lies a few levels down in a stored document.
STORED_DEPTH_MAX = DEPTH_MAX + 16

Json = dict[str, Any]
T = TypeVar("T")


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
        "owner": audit.owner,
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
            "budget_share": request.budget_share,
            "zoom": request.zoom,
            "explain": request.explain,
            "budget_runs": request.budget_runs,
            "self_test": request.self_test,
            "join_only": request.join_only,
            "joiners": list(request.joiners),
        },
        "runs": [run_to_json(run) for run in audit.runs.values()],
    }


def audit_from_json(document: Mapping[str, Any]) -> Audit:
    """Inverse of `audit_to_json`. Raises DocumentError."""
    _expect(document, AUDIT_SCHEMA)
    document = checked_audit(document)
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
                "budget_share",
                "zoom",
                "explain",
                "budget_runs",
                "self_test",
                "join_only",
            ),
            environments=tuple(raw.get("environments", ("default",))),
            joiners=tuple(raw.get("joiners", ())),
            set=tuple((name, value) for name, value in raw.get("set", ())),
            vary=tuple((name, tuple(values)) for name, values in raw.get("vary", ())),
        )
        runs = [_run(item) for item in document.get("runs", ())]
        return Audit(
            audit_id=document["audit_id"],
            request=request,
            runs={run.spec.run_id: run for run in runs},
            state=AuditState(document["state"]),
            **_present(document, "created_unix_s", "version", "stop_after_step", "verdict_json", "message", "trying"),
            **_present(document, "owner"),
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
        "holder": run.holder,
        "secret_digest": run.secret_digest,
    }


def _run(document: Mapping[str, Any]) -> RunRecord:
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
            **_present(document, "holder", "secret_digest"),
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
    document = checked_seal(document)
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
    """Compact ASCII JSON. Raises RejectedDataError for what could not be read again."""
    try:
        return dump_json(document, "a document for the store")
    except JsonError as error:
        raise RejectedDataError(str(error)) from None


def load(text: str | bytes) -> Json:
    """Inverse of `dump`. Raises DocumentError."""
    try:
        return parse_object(text, "a document in the store", sys.maxsize, repair=True, depth_max=STORED_DEPTH_MAX)
    except JsonError as error:
        raise DocumentError(str(error)) from None


def load_audit(text: str | bytes) -> Audit:
    """An audit from its stored text. Raises DocumentError."""
    return audit_from_json(load(text))


def readable(kind: str, rows: Iterable[tuple[str, str | bytes]], read: Callable[[str | bytes], T]) -> NamedRows[T]:
    """(name, stored text) of rows of a kind: those that `read` can read by name, in order, and those that it cannot."""
    found: dict[str, T] = {}
    bad = []
    for name, text in rows:
        try:
            found[name] = read(text)
        except DocumentError as error:
            bad.append(Unreadable(kind, name, str(error)))
    return NamedRows(found, bad)


def readable_runs(chosen: Iterable[tuple[str, str]], audits: NamedRows[Audit]) -> Rows[RunRecord]:
    """(run id, audit id) of runs, out of the documents of their audits."""
    why = {bad.name: bad.text for bad in audits.unreadable}
    records, bad = [], []
    for run_id, audit_id in chosen:
        if audit_id in why:
            bad.append(Unreadable("run", run_id, why[audit_id]))
        elif audit_id in audits and (record := audits[audit_id].runs.get(run_id)) is not None:
            records.append(record)
    return Rows(records, bad)


def load_log_entry(number: int, text: str | bytes) -> Json:
    """An entry of the log, or one that stands in for it and says why it cannot be read."""
    try:
        return load(text)
    except DocumentError as error:
        return unreadable_entry(number, str(error))


def unreadable_entry(number: int, why: str) -> Json:
    """What the log shows in place of an entry."""
    shown = Unreadable("log entry", str(number), why).text
    return {"at": 0.0, "who": "", "event": "unreadable", "text": shown, "audit": "", "machine": "", "detail": {}}


def _present(raw: Mapping[str, Any], *names: str) -> Json:
    """The named keys that are there; the others keep the defaults of their dataclass."""
    return {name: raw[name] for name in names if name in raw}


def _expect(document: Mapping[str, Any], schema: str) -> None:
    found = str(document.get("schema", "no schema"))
    if found != schema:
        raise DocumentError(f"the store holds a document of {found}; this detctl reads {schema}: upgrade detctl")
