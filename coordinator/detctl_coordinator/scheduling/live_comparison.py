"""Compares runs while they are still training. Once the comparison of every stage is decided, more steps only cost machine time."""

from __future__ import annotations

from detctl_coordinator.comparison.live import ENDED_TWINS_MIN, stages_answered
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.run import RunState
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.reading.reader import StoredRun
from detctl_coordinator.storage.store import Store

# Two more steps show whether a difference is transient or lasts (docs/adr/0017).
STEPS_AFTER = 2


class LiveComparison:
    """Compares the step entries of an audit's runs. It reads records only if entries differ."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._compared: dict[str, int] = {}  # audit -> the progress of its runs at the last comparison

    def can_stop_early(self, audit: Audit) -> bool:
        """Returns whether the audit's runs may still be stopped early."""
        if audit.state is not AuditState.RUNNING or audit.request.to_end or audit.stop_after_step is not None:
            return False
        if len(audit.runs_for("")) < len(audit.runs):
            return False
        configurations = {run.spec.arm.label for run in audit.runs.values()}
        runs = [run for run in audit.runs.values() if run.attempt and run.state is not RunState.FAILED]
        if len(configurations) == 1:
            ended = sum(run.state is RunState.SEALED for run in runs)
            return len(runs) == len(audit.runs) and ENDED_TWINS_MIN <= ended < len(runs)
        return configurations == {run.spec.arm.label for run in runs}

    async def stop_after(self, audit: Audit, progress: int) -> int | None:
        """Returns the last step that the runs should finish, or None if they should go on. progress: a number that changes when the runs
        make progress."""
        if self._compared.get(audit.audit_id) == progress:
            return None
        self._compared[audit.audit_id] = progress
        if len(self._compared) > 1000:
            self._compared.clear()
        answered = await self._store.call(_answered, audit)
        return None if answered is None else answered + STEPS_AFTER


def _answered(store: Store, audit: Audit) -> int | None:
    begun = [run for run in audit.runs.values() if run.attempt and run.state is not RunState.FAILED]
    try:
        return stages_answered([StoredRun(store, run.spec.run_id) for run in begun])
    except DamagedError:
        return None
