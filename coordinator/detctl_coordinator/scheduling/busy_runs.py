"""Counts the active runs of each machine over all audits: once per poll, then updated as audits advance. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.scheduling.audit_lifecycle import is_active


class BusyRuns:
    """Counts the active runs of the given audits. Each audit must occur once."""

    def __init__(self, audits: Iterable[Audit]) -> None:
        self._by_machine: Counter[str] = Counter()
        for audit in audits:
            self._by_machine.update(_of(audit))

    def elsewhere(self, audit: Audit) -> Mapping[str, int]:
        """Returns, by machine of this audit, the active runs of all other audits. audit: the version that was counted last."""
        own = _of(audit)
        return {name: self._by_machine[name] - own[name] for name in audit.request.machines}

    def replace(self, old: Audit, new: Audit) -> None:
        """Updates the counts after an audit has advanced."""
        if new is not old:
            self._by_machine.subtract(_of(old))
            self._by_machine.update(_of(new))


def _of(audit: Audit) -> Counter[str]:
    # Runs with a holder do not count: users train them outside the agents' slots.
    return Counter(run.spec.arm.machine for run in audit.runs.values() if is_active(run) and not run.holder)
