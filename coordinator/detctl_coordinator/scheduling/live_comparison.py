"""Comparing while runs are under way: once every stage's answer is known, more steps cost machine time and say nothing new."""

from __future__ import annotations

from detctl_coordinator.comparison.live import stages_answered
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.run import RunState
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.reading.reader import StoredRun
from detctl_coordinator.storage.store import Store

# Two steps after the last answer show whether a difference is transient or lasts (docs/adr/0017).
STEPS_AFTER = 2


class Live:
    """Looks at the step entries of an audit's runs; never at records unless entries differ."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._looked: dict[str, int] = {}  # audit -> how far its runs were at the last look

    def wanted(self, audit: Audit) -> bool:
        """Whether stopping early may still come about."""
        if audit.state is not AuditState.RUNNING or audit.request.to_end or audit.stop_after_step is not None:
            return False
        if len(audit.runs_for("")) < len(audit.runs):
            return False
        arms = {run.spec.arm.label for run in audit.runs.values()}
        begun = {run.spec.arm.label for run in audit.runs.values() if run.attempt and run.state is not RunState.FAILED}
        return len(arms) > 1 and arms == begun

    async def stop_after(self, audit: Audit, progress: int) -> int | None:
        """The last step that runs should finish, or None: go on. `progress`: another number once more was done."""
        if self._looked.get(audit.audit_id) == progress:
            return None
        self._looked[audit.audit_id] = progress
        if len(self._looked) > 1000:
            self._looked.clear()
        answered = await self._store.call(_answered, audit)
        return None if answered is None else answered + STEPS_AFTER


def _answered(store: Store, audit: Audit) -> int | None:
    begun = [run for run in audit.runs.values() if run.attempt and run.state is not RunState.FAILED]
    try:
        return stages_answered([StoredRun(store, run.spec.run_id) for run in begun])
    except DamagedError:
        return None
