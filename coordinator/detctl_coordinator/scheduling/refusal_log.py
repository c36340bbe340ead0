"""Logs refused messages: one line in the process's log and one entry in the append-only log for each caller, run and kind.

A flood of refused messages therefore leaves one entry, whose key names the caller, the run and the kind. A message about an unknown
run leaves a line but no entry.
"""

from __future__ import annotations

import logging
import time

from detctl_proto.syntax.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.planning.run_holders import Sender
from detctl_coordinator.scheduling.audit_log import entry
from detctl_coordinator.storage.async_store import AsyncStore

log = logging.getLogger(__name__)

REMEMBERED_MAX = 10_000  # keys that this process remembers; the store has them all


class RefusalLog:
    """See the module's text."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._logged: set[str] = set()

    async def append(
        self, sender: Sender, subject: str, kind: str, why: str, *, audit_id: str, machine: str = ""
    ) -> None:
        """Logs one refusal. subject: the run or audit; kind: a word such as `not-holder`; audit_id: "" for an unknown run. Raises
        StoreError."""
        caller, subject = sender.caller, limits.clean(subject, 80)
        claimed_machine = limits.clean(sender.machine, 80) if is_name(sender.machine) else ""
        key = f"refused:{kind}:{caller.role.value}:{caller.name}:{claimed_machine}:{subject if audit_id else ''}"
        if key in self._logged:
            return
        if len(self._logged) >= REMEMBERED_MAX:
            self._logged.clear()
        self._logged.add(key)
        peer, why = limits.clean(sender.peer, 80), limits.clean(why, 400)
        log.warning(
            "subject=%s kind=%s who=%s role=%s machine=%s peer=%s refused=%s",
            subject or "-", kind, caller.name, caller.role.value, claimed_machine or "-", peer or "-", why,
        )  # fmt: skip
        if not audit_id:
            return
        document = entry(
            time.time(), sender.name, "refused", f"{subject}: {why}", audit_id=audit_id, machine=machine,
            kind=kind, caller=caller.name, role=caller.role.value, speaks_for=claimed_machine, peer=peer,
        )  # fmt: skip
        try:
            await self._store.append_log(key, document)
        except BaseException:
            self._logged.discard(key)  # so that the next message of this kind tries again
            raise
