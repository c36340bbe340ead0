"""Audits as they are followed: one follower an audit, however many watch it. It lives on what the engine sees, and encodes once.

A change made on this replica is seen at once, one made elsewhere at the engine's next look. The store is asked where an audit is not
among those that the engine looks at: when the first watcher comes, when the audit is over, and when the engine sees nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from detctl_proto.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.scheduling.progress import Speed, with_progress
from detctl_coordinator.wire import audits as wire

WATCH_S = 0.25  # progress is told four times a second at most
KEEPALIVE_S = 5.0  # and at least this often, so that a watcher sees a coordinator that is gone


class Watches:
    """The followers of this replica, by audit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._followers: dict[str, _Follower] = {}

    async def watch(self, audit_id: str) -> AsyncIterator[bytes]:
        """Encoded AuditProgress, the newest each time: whoever is slow misses what lies between. Ends with the verdict.

        Raises RefusedCallError where the audit is unknown or gone, StoreError."""
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
    """One audit; `watchers`: how many read it."""

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
        """Nothing comes any more."""
        return self._task.done()

    def stop(self) -> None:
        self._task.cancel()

    async def after(self, number: int) -> tuple[int, bytes, bool]:
        """(its number, message, whether it is the last), as soon as there is one after `number`. Raises what ended the follower."""
        while self._number == number:
            if self._error is not None:
                raise self._error.with_traceback(None)  # the same one for all who watch
            await self._moved.wait()
        return self._number, self._message, self._last

    async def _follow(self) -> None:
        try:
            await self._read_on()
        except Exception as error:
            self._error = error
            self._wake()  # without a message: there is nothing new of the audit

    async def _read_on(self) -> None:
        looks = self._engine.looks
        loop_time = asyncio.get_running_loop().time
        told: tuple[object, ...] = ()
        told_at = float("-inf")
        seen = looks.number
        audit = await self._stored()
        while True:
            over = audit.state in (AuditState.DONE, AuditState.CANCELLED)
            mine = [looks.machines[name].working for name in audit.request.machines if name in looks.machines]
            if over or (audit.version, mine) != told or loop_time() - told_at >= KEEPALIVE_S:
                self._tell(audit, over=over)
                told, told_at = (audit.version, mine), loop_time()
            if over:
                return
            moved = await looks.after(seen, KEEPALIVE_S) and looks.store_is_up
            await asyncio.sleep(WATCH_S - (loop_time() - told_at))
            seen = looks.number
            audit = (looks.audit(self._audit_id) if moved else None) or await self._stored()

    async def _stored(self) -> Audit:
        known = is_name(self._audit_id)
        audit = await self._engine.store.audit(self._audit_id) if known else None
        if audit is None:
            shown = limits.clean(self._audit_id, 80)
            raise RefusedCallError(Code.NOT_FOUND, f"no audit {shown!r} is known here; see detctl audits")
        return audit

    def _tell(self, audit: Audit, *, over: bool) -> None:
        if not over:
            audit = with_progress(audit, self._engine.looks.machines)
        speed = self._speed.of(sum(run.records for run in audit.runs.values()))
        self._message = wire.progress_to_proto(audit, speed).SerializeToString()
        self._last = over
        self._number += 1
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
