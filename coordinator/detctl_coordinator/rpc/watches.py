"""Streams the progress of audits: one follower per audit encodes each message once for all of its watchers.

A follower reads the engine's snapshot, so it sees changes of this replica at once, and changes of other replicas at the engine's next
poll. It reads the store only if the snapshot lacks the audit: for the first watcher, after the audit has ended, and while the engine
cannot read the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from detctl_proto.syntax.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.scheduling.progress import Speed, with_progress, working_on
from detctl_coordinator.wire import audits as wire

WATCH_S = 0.25  # the shortest time between two messages
KEEPALIVE_S = 5.0  # the longest time between two messages, so that a watcher notices if the coordinator is gone


class Watches:
    """The followers of this replica."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followers: dict[str, _Follower] = {}

    async def watch(self, audit_id: str) -> AsyncIterator[bytes]:
        """Yields the newest AuditProgress, encoded; a slow watcher misses those in between. Ends with the verdict.

        Raises RefusedCallError if the audit does not exist, StoreError."""
        follower = self._followers.get(audit_id)
        if follower is None or follower.over:
            follower = self._followers[audit_id] = _Follower(self._engine, audit_id)
        follower.watchers += 1
        try:
            number = 0
            while True:
                number, message, over = await follower.after(number)
                yield message
                if over:
                    return
        finally:
            follower.watchers -= 1
            if not follower.watchers:
                follower.stop()
                if self._followers.get(audit_id) is follower:
                    del self._followers[audit_id]


class _Follower:
    """Follows one audit. watchers: the number of its readers."""

    def __init__(self, engine: Engine, audit_id: str) -> None:
        self._engine = engine
        self._audit_id = audit_id
        self._speed = Speed(time.monotonic)
        self._number = 0
        self._message = b""
        self._last = False
        self._error: Exception | None = None
        self._moved = asyncio.Event()
        self.watchers = 0
        self._task = asyncio.create_task(self._follow(), name=f"follow-{audit_id}")

    @property
    def over(self) -> bool:
        """Whether no more messages come."""
        return self._task.done()

    def stop(self) -> None:
        self._task.cancel()

    async def after(self, number: int) -> tuple[int, bytes, bool]:
        """Waits for a message after `number` and returns (its number, the message, whether it is the last). Raises the error that ended
        the follower."""
        while self._number == number:
            if self._error is not None:
                raise self._error.with_traceback(None)  # all watchers share the exception
            await self._moved.wait()
        return self._number, self._message, self._last

    async def _follow(self) -> None:
        try:
            await self._publish_changes()
        except Exception as error:
            self._error = error
            self._wake()  # without a message

    async def _publish_changes(self) -> None:
        snapshot = self._engine.snapshot
        loop_time = asyncio.get_running_loop().time
        published: tuple[object, ...] = ()
        published_at = float("-inf")
        seen = snapshot.number
        audit = await self._stored()
        while True:
            over = audit.state in (AuditState.DONE, AuditState.CANCELLED)
            mine = [snapshot.machines[name].working for name in audit.request.machines if name in snapshot.machines]
            if over or (audit.version, mine) != published or loop_time() - published_at >= KEEPALIVE_S:
                self._publish(audit, over=over)
                published, published_at = (audit.version, mine), loop_time()
            if over:
                return
            moved = await snapshot.wait_for_change(seen, KEEPALIVE_S) and snapshot.store_is_up
            await asyncio.sleep(WATCH_S - (loop_time() - published_at))
            seen = snapshot.number
            audit = (snapshot.audit(self._audit_id) if moved else None) or await self._stored()

    async def _stored(self) -> Audit:
        known = is_name(self._audit_id)
        audit = await self._engine.store.audit(self._audit_id) if known else None
        if audit is None:
            shown = limits.clean(self._audit_id, 80)
            raise RefusedCallError(Code.NOT_FOUND, f"no audit has the id {shown!r}; see detctl audits")
        return audit

    def _publish(self, audit: Audit, *, over: bool) -> None:
        machines = {} if over else self._engine.snapshot.machines
        working = working_on(audit, machines)
        audit = with_progress(audit, machines)
        speed = self._speed.of(sum(run.records for run in audit.runs.values()))
        self._message = wire.progress_to_proto(audit, speed, working).SerializeToString()
        self._last = over
        self._number += 1
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
