"""Plans imports: each folder that `detctl record` wrote becomes the only run of a small audit, in which no agent takes part."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.limits import RUNS_MAX
from detctl_proto.recordings.run_labels import BASE, parse_label
from detctl_proto.syntax.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.run import Arm, RunRecord, RunSpec, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.wire.checks import in_form
from detctl_coordinator.wire.schemas import ImportedRun

PREFIX = "import-"


def is_import_id(audit_id: str) -> bool:
    """Returns whether an audit was imported from a folder. Ids of other audits never have this prefix."""
    return audit_id.startswith(PREFIX)


def plan_import(
    label: str, run_json: dict[str, Any], now_unix_s: float, holder: str = "", secret_digest: str = ""
) -> Audit:
    """Returns an audit of one run, which is RUNNING in attempt 1. label: machine/environment/variation/twin-N; holder, secret_digest:
    see RunRecord. Raises RefusedCallError."""
    machine, environment, variation, twin = _label(label)
    imported = in_form(ImportedRun, run_json, "run.json")
    audit_id = PREFIX + secrets.token_hex(6)
    spec = RunSpec(
        run_id=f"{audit_id}.000",
        audit_id=audit_id,
        recipe=limits.clean(imported.recipe or "record", 64),
        arm=Arm(machine, environment, variation),
        twin=twin,
        level=limits.clean(imported.level or DEFAULT_LEVEL, 16),
        step_to=None,
        budget_share=_share(imported.budget_share),
    )
    request = AuditRequest(
        recipe=spec.recipe, machines=(), twins=1, step_to=None, to_end=True, requested_by=holder or "import"
    )
    audit = Audit(audit_id=audit_id, request=request, created_unix_s=now_unix_s, message="importing", owner=holder)
    run = RunRecord(spec, RunState.RUNNING, 1, created_unix_s=now_unix_s, holder=holder, secret_digest=secret_digest)
    return replace(audit, runs={spec.run_id: run})


def _share(value: float | None) -> float:
    return value if value is not None and 0.0 < value < 1.0 else 0.0


def _label(text: str) -> tuple[str, str, tuple[tuple[str, str], ...], int]:
    label = parse_label(text)
    if label is None or label.kind != "twin" or not (is_name(label.machine) and is_name(label.environment)):
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"label {limits.clean(text, 80)!r} must have the form machine/environment/variation/twin-N",
        )
    if label.number > RUNS_MAX:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"label {limits.clean(text, 80)!r}: N in twin-N must be a number up to {RUNS_MAX}",
        )
    pairs = [] if label.variation == BASE else [item.partition("=")[::2] for item in label.variation.split(",")]
    variation = tuple(sorted((limits.clean(name, 80), limits.clean(value, 128)) for name, value in pairs))
    return label.machine, label.environment, variation, label.number
