"""Which runs may be forgotten: those that are over, of audits that need them no more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from detctl_coordinator.domain.audit import Audit, AuditState


def is_active(audit: Audit) -> bool:
    """Running or comparing: somebody still works on it."""
    return audit.state in (AuditState.RUNNING, AuditState.COMPARING)


def without_runs(audit: Audit, run_ids: Collection[str]) -> tuple[Audit, list[str]]:
    """The audit less those of `run_ids` that may go, and which these are.

    Runs that are not over stay, and so does every run of an active audit: its comparison would miss them.
    """
    if is_active(audit):
        return audit, []
    removed = [run_id for run_id, run in audit.runs.items() if run_id in run_ids and run.state.over]
    rest = {run_id: run for run_id, run in audit.runs.items() if run_id not in removed}
    return replace(audit, runs=rest), removed
