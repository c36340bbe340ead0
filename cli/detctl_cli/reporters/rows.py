"""JSON rows of machines, runs, audits and tokens, as `--json` prints them and tables show them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from detctl_proto.outside_json import JsonError, parse_object

if TYPE_CHECKING:
    from detctl_proto.v1.admin_pb2 import TokenInfo
    from detctl_proto.v1.audits_pb2 import AuditInfo, MachineInfo, RunInfo

Row = dict[str, Any]


def machine_row(info: MachineInfo) -> Row:
    """Returns the JSON of a machine."""
    try:
        manifest = parse_object(info.manifest_json or "{}", "a manifest", sys.maxsize, repair=True)
    except JsonError:
        manifest = {}
    return {
        "name": info.name,
        "connected": info.connected,
        "last_seen_unix_s": info.last_seen_unix_s,
        "recipes": list(info.recipes),
        "environments": list(info.environments),
        "version": info.version,
        "notes": [{"recipe": note.recipe, "unusable": note.unusable, "reason": note.reason} for note in info.notes],
        "manifest": manifest,
    }


def run_row(info: RunInfo) -> Row:
    """Returns the JSON of a run."""
    status = info.status
    return {
        "id": status.run_id,
        "label": status.label,
        "machine": status.machine,
        "audit": info.audit_id,
        "recipe": info.recipe,
        "state": status.state,
        "attempt": status.attempt,
        "step": status.step,
        "records": status.records,
        "ranks": info.ranks,
        "exit_code": info.exit_code,
        "end": info.end,
        "message": status.message,
        "created_unix_s": info.created_unix_s,
    }


def audit_row(info: AuditInfo) -> Row:
    """Returns the JSON of an audit."""
    return {
        "id": info.audit_id,
        "recipe": info.recipe,
        "machines": list(info.machines),
        "state": info.state,
        "outcome": info.outcome or None,
        "origin": info.origin or None,
        "causes": list(info.causes),
        "created_unix_s": info.created_unix_s,
    }


def token_row(info: TokenInfo) -> Row:
    """Returns the JSON of a token, without the token itself."""
    return {
        "id": info.token_id,
        "role": info.role,
        "name": info.name,
        "created_by": info.created_by,
        "created_unix_s": info.created_unix_s,
        "expires_unix_s": info.expires_unix_s,
        "revoked_unix_s": info.revoked_unix_s or None,
    }
