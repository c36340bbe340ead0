"""What the engine saw at its last look at the store, for those who only follow: they need no look of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.machine import Machine


class Looks:
    """`number` grows with each look and each change made here; `store_is_up`: the last look came to its end."""

    def __init__(self) -> None:
        self.number = 0
        self.complete = False  # there has been one
        self.store_is_up = True
        self.machines: Mapping[str, Machine] = {}
        self._audits: dict[str, Audit] = {}
        self._changed: dict[str, Audit] = {}  # begun or advanced here since the last look
        self._over: dict[str, int] = {}  # audits that ended here since the last look -> their last version
        self._moved = asyncio.Event()

    def audit(self, audit_id: str) -> Audit | None:
        """As it was seen last; None where it is over or unknown: ask the store."""
        return self._audits.get(audit_id)

    def audits(self) -> Iterable[Audit]:
        """All that are not over."""
        return self._audits.values()

    def saw(self, audits: Iterable[Audit], machines: Mapping[str, Machine]) -> None:
        """A whole look. What was changed here since it began is newer and stays."""
        newer, over, self._changed, self._over = self._changed, self._over, {}, {}
        self._audits = {audit.audit_id: audit for audit in audits if audit.version > over.get(audit.audit_id, -1)}
        for audit_id, audit in newer.items():
            known = self._audits.get(audit_id)
            if known is None or known.version < audit.version:
                self._audits[audit_id] = audit
        self.machines, self.store_is_up, self.complete = machines, True, True
        self._move()

    def advanced(self, audit: Audit) -> None:
        """This replica stored it."""
        if audit.state in (AuditState.RUNNING, AuditState.COMPARING):
            self._audits[audit.audit_id] = self._changed[audit.audit_id] = audit
        else:
            self._audits.pop(audit.audit_id, None)
            self._changed.pop(audit.audit_id, None)
            self._over[audit.audit_id] = audit.version
        self._move()

    def failed(self) -> None:
        """The store did not answer."""
        self.store_is_up = False
        self._move()

    async def after(self, number: int, timeout_s: float) -> bool:
        """Waits for anything newer than `number`; False after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.number == number:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def _move(self) -> None:
        self.number += 1
        self._moved.set()
        self._moved = asyncio.Event()
