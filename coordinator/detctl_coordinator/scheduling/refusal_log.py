"""What was refused to whom: a line of the process's log and an entry of the append-only log, each once a caller, run and kind.

A flood of refused messages leaves no more than that: a key of the log names the caller, the run and the kind, and a run that nobody
knows leaves a line and no entry.
"""

from __future__ import annotations

import logging
import time

from detctl_proto.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.planning.run_holders import Sender
from detctl_coordinator.scheduling.audit_log import entry
from detctl_coordinator.storage.async_store import AsyncStore

log = logging.getLogger(__name__)

REMEMBERED_MAX = 10_000  # keys that this process has logged; the store knows them all


class RefusalLog:
    """See the module's text."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._logged: set[str] = set()

    async def note(
        self, sender: Sender, subject: str, kind: str, why: str, *, audit_id: str, machine: str = ""
    ) -> None:
        """subject: the run or audit; kind: a word, as `not-holder`; audit_id: empty for a run that is unknown. Raises StoreError."""
        caller, subject = sender.caller, limits.clean(subject, 80)
        speaks_for = limits.clean(sender.machine, 80) if is_name(sender.machine) else ""
        key = f"refused:{kind}:{caller.role.value}:{caller.name}:{speaks_for}:{subject if audit_id else ''}"
        if key in self._logged:
            return
        if len(self._logged) >= REMEMBERED_MAX:
            self._logged.clear()
        self._logged.add(key)
        peer, why = limits.clean(sender.peer, 80), limits.clean(why, 400)
        log.warning(
            "subject=%s kind=%s who=%s role=%s machine=%s peer=%s refused=%s",
            subject or "-", kind, caller.name, caller.role.value, speaks_for or "-", peer or "-", why,
        )  # fmt: skip
        if not audit_id:
            return
        document = entry(
            time.time(), sender.name, "refused", f"{subject}: {why}", audit_id=audit_id, machine=machine,
            kind=kind, caller=caller.name, role=caller.role.value, speaks_for=speaks_for, peer=peer,
        )  # fmt: skip
        try:
            await self._store.append_log(key, document)
        except BaseException:
            self._logged.discard(key)  # the next one of its kind tries again
            raise
