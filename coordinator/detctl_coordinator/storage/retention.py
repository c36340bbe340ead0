"""Decides which runs may be deleted: those that are over, of audits that do not need them any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from detctl_coordinator.domain.audit import Audit, AuditState


def is_active(audit: Audit) -> bool:
    """Returns whether the audit is running or comparing."""
    return audit.state in (AuditState.RUNNING, AuditState.COMPARING)


def without_runs(audit: Audit, run_ids: Collection[str]) -> tuple[Audit, list[str]]:
    """Returns (the audit without those of `run_ids` that may be deleted, the ids of these).

    Runs that are not over stay, and so do all runs of an active audit, because its comparison needs them.
    """
    if is_active(audit):
        return audit, []
    removed = [run_id for run_id, run in audit.runs.items() if run_id in run_ids and run.state.over]
    rest = {run_id: run for run_id, run in audit.runs.items() if run_id not in removed}
    return replace(audit, runs=rest), removed
