"""Derives the log entries of an audit from its state: the same state always gives the same entries under the same keys. Pure.

So an engine that was killed between a change and its entry writes the entry later, and two replicas write each entry only once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from detctl_proto.security.redaction import redact_pairs, redact_text

from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.run import RunRecord, RunState

Entry = tuple[str, Mapping[str, Any]]  # key and document


def entry(
    now: float, who: str, event: str, text: str, *, audit_id: str = "", machine: str = "", **detail: Any
) -> dict[str, Any]:
    """Returns one document of the log. detail: JSON values by name."""
    return {
        "at": now, "who": who, "event": event, "text": text, "audit": audit_id, "machine": machine, "detail": detail,
    }  # fmt: skip


def entries_of(audit: Audit, now: float) -> Iterator[Entry]:
    """Yields the entries that the audit has reached: its start, assignments and ends of runs, its verdict or cancellation. now: the time
    of new entries."""
    request = audit.request
    who = request.requested_by or "local"
    machines = ", ".join(request.machines) or "an import"
    digests = {run.spec.arm.machine: run.spec.expected_source_digest for run in audit.runs.values()}
    yield (
        f"audit:{audit.audit_id}:started",
        entry(
            audit.created_unix_s, who, "audit-started", f"{request.recipe} on {machines}", audit_id=audit.audit_id,
            recipe=request.recipe, machines=list(request.machines), environments=list(request.environments),
            set=redact_pairs(dict(request.set)), vary={name: list(values) for name, values in request.vary},
            source=digests,
        ),
    )  # fmt: skip
    for run in audit.runs.values():
        yield from _run_entries(audit, run, who, now)
    if audit.state is AuditState.CANCELLED:
        text = audit.message or "cancelled"
        yield (
            f"audit:{audit.audit_id}:cancelled",
            entry(now, who, "audit-cancelled", text, audit_id=audit.audit_id),
        )
    elif audit.state is AuditState.DONE and audit.verdict_json:
        digest = hashlib.sha256(audit.verdict_json.encode()).hexdigest()
        yield (
            f"audit:{audit.audit_id}:done:{digest[:16]}",
            entry(now, who, "audit-done", audit.message or "verdict", audit_id=audit.audit_id, verdict_sha256=digest),
        )


def _run_entries(audit: Audit, run: RunRecord, who: str, now: float) -> Iterator[Entry]:
    sender = run.holder or run.spec.arm.machine
    spec, machine = run.spec, run.spec.arm.machine
    key = f"run:{spec.run_id}:{run.attempt}"
    if run.attempt:
        yield (
            f"{key}:assigned",
            entry(
                now, who, "run-assigned", f"{spec.run_id} ({spec.label}), attempt {run.attempt}", audit_id=audit.audit_id,
                machine=machine, run=spec.run_id, attempt=run.attempt, recipe=spec.recipe,
                source=spec.expected_source_digest, environment=spec.arm.environment, parameters=redact_pairs(spec.parameters),
                variables=dict(spec.variables), interventions=dict(spec.interventions),
            ),
        )  # fmt: skip
    if run.state in (RunState.SEALED, RunState.FAILED, RunState.CANCELLED):
        outcome = run.outcome
        end = outcome.end if outcome is not None else run.state.value
        text = f"{spec.run_id} ({spec.label}): {end}" + (f", exit {outcome.exit_code}" if outcome is not None else "")
        yield (
            f"{key}:ended",
            entry(
                now, sender, "run-ended", text, audit_id=audit.audit_id, machine=machine, run=spec.run_id,
                attempt=run.attempt, end=end, exit_code=outcome.exit_code if outcome is not None else None,
                message=redact_text(run.message),
            ),
        )  # fmt: skip
