"""The engine's latest view of the store. Watchers read it instead of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.machine import Machine


class Snapshot:
    """number: grows with each poll and each change made on this replica; store_is_up: whether the last poll succeeded."""

    def __init__(self) -> None:
        self.number = 0
        self.complete = False  # whether there has been a poll
        self.store_is_up = True
        self.machines: Mapping[str, Machine] = {}
        self._audits: dict[str, Audit] = {}
        self._changed: dict[str, Audit] = {}  # started or advanced on this replica since the last poll
        self._over: dict[str, int] = {}  # audits that ended on this replica since the last poll -> their last version
        self._changed_event = asyncio.Event()

    def audit(self, audit_id: str) -> Audit | None:
        """Returns the audit; None if it is over or unknown, so that the caller must read the store."""
        return self._audits.get(audit_id)

    def audits(self) -> Iterable[Audit]:
        """Returns all unfinished audits."""
        return self._audits.values()

    def update(self, audits: Iterable[Audit], machines: Mapping[str, Machine]) -> None:
        """Replaces the content after a poll. Changes that this replica made since the poll began are newer and stay."""
        newer, over, self._changed, self._over = self._changed, self._over, {}, {}
        self._audits = {audit.audit_id: audit for audit in audits if audit.version > over.get(audit.audit_id, -1)}
        for audit_id, audit in newer.items():
            known = self._audits.get(audit_id)
            if known is None or known.version < audit.version:
                self._audits[audit_id] = audit
        self.machines, self.store_is_up, self.complete = machines, True, True
        self._notify()

    def record_change(self, audit: Audit) -> None:
        """Records an audit that this replica has stored."""
        if audit.state in (AuditState.RUNNING, AuditState.COMPARING):
            self._audits[audit.audit_id] = self._changed[audit.audit_id] = audit
        else:
            self._audits.pop(audit.audit_id, None)
            self._changed.pop(audit.audit_id, None)
            self._over[audit.audit_id] = audit.version
        self._notify()

    def set_store_down(self) -> None:
        """Records that the store did not answer."""
        self.store_is_up = False
        self._notify()

    async def wait_for_change(self, number: int, timeout_s: float) -> bool:
        """Waits until the snapshot is newer than `number`. Returns False after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.number == number:
                    await self._changed_event.wait()
        except TimeoutError:
            return False
        return True

    def _notify(self) -> None:
        self.number += 1
        self._changed_event.set()
        self._changed_event = asyncio.Event()
