"""The progress of an audit for people who watch it: the stored document with the latest heartbeats, and a speed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.lifecycle_events import RunProgress
from detctl_coordinator.domain.machine import Machine, Working
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle

SPEED_WINDOW_S = 5.0


def with_progress(audit: Audit, machines: Mapping[str, Machine]) -> Audit:
    """Returns the audit with the latest steps and record counts of its runs from heartbeats. It must not be stored."""
    for machine in machines.values():
        for working in machine.working:
            run = audit.runs.get(working.run_id)
            if run is not None and run.spec.arm.machine == machine.name and not run.holder:
                event = RunProgress(working.run_id, working.attempt, working.step, working.records)
                audit = lifecycle.apply(audit, event)
    return audit


def working_on(audit: Audit, machines: Mapping[str, Machine]) -> dict[str, Working]:
    """Returns the latest heartbeat of each run of the audit that an agent works on now, by run id."""
    found = {}
    for machine in machines.values():
        for working in machine.working:
            run = audit.runs.get(working.run_id)
            if run is None or run.spec.arm.machine != machine.name or run.holder or run.state.over:
                continue
            if working.attempt == run.attempt:
                found[working.run_id] = working
    return found


def run_with_progress(run: RunRecord, machines: Mapping[str, Machine]) -> RunRecord:
    """Returns the run with the latest step and record count from its machine's heartbeat; a run that is over is unchanged."""
    machine = machines.get(run.spec.arm.machine) if not run.holder else None
    for working in machine.working if machine and not run.state.over else ():
        if (working.run_id, working.attempt) == (run.spec.run_id, run.attempt):
            return replace(run, step=max(run.step, working.step), records=max(run.records, working.records))
    return run


class Speed:
    """Computes fingerprints per second from totals, over the last SPEED_WINDOW_S."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._samples: deque[tuple[float, int]] = deque()

    def of(self, total: int) -> float:
        """Adds a total and returns the speed; 0.0 until there are two totals. A smaller total (a run was repeated) starts over."""
        now = self._monotonic()
        if self._samples and total < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, total))
        while now - self._samples[0][0] > SPEED_WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()
        (begin, first), (end, last) = self._samples[0], self._samples[-1]
        return round((last - first) / (end - begin), 1) if end > begin else 0.0
