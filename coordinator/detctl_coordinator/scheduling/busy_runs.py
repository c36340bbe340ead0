"""How many active runs each machine has, over all audits: counted once a look, and brought up to date as audits advance. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.scheduling.audit_lifecycle import is_active


class BusyRuns:
    """Of the audits given; each audit once."""

    def __init__(self, audits: Iterable[Audit]) -> None:
        self._by_machine: Counter[str] = Counter()
        for audit in audits:
            self._by_machine.update(_of(audit))

    def elsewhere(self, audit: Audit) -> Mapping[str, int]:
        """By machine of the audit's request, those of all other audits; `audit` as it was counted last."""
        own = _of(audit)
        return {name: self._by_machine[name] - own[name] for name in audit.request.machines}

    def replace(self, old: Audit, new: Audit) -> None:
        """The audit has advanced."""
        if new is not old:
            self._by_machine.subtract(_of(old))
            self._by_machine.update(_of(new))


def _of(audit: Audit) -> Counter[str]:
    # Users train the runs that have a holder, elsewhere.
    return Counter(run.spec.arm.machine for run in audit.runs.values() if is_active(run) and not run.holder)
