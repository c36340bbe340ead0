"""Limits what one caller may have at a time: calls and streams on this replica, and unfinished audits.

The coordinator's own user (its socket, its token file) may have LOCAL_TIMES as much, because it manages the audits of all users. A
runaway script of that user is stopped too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.identity import LOCAL, Caller
from detctl_coordinator.errors.codes import Code, RefusedCallError

LOCAL_TIMES = 20
_STREAMS = frozenset({"Control", "Ingest", "Content", "ServerReflectionInfo"})
_WATCHES = frozenset({"WatchAudit", "Watch"})


@dataclass(frozen=True)
class Quota:
    """The limits of one caller. Each number is a setting of the same name (settings.py)."""

    max_open_audits: int
    max_planned_runs: int
    max_streams: int
    max_watch_calls: int
    max_calls: int


class Quotas:
    """Counts the calls of each caller."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._calls: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def call(self, caller: Caller, method: str) -> Iterator[None]:
        """Counts a call while the block runs. Raises RefusedCallError(RESOURCE_EXHAUSTED)."""
        name = method.rpartition("/")[2]
        kind, what = "max_calls", "open calls"
        if name in _STREAMS:
            kind, what = "max_streams", "open streams"
        elif name in _WATCHES:
            kind, what = "max_watch_calls", "open watch calls"
        key = (key_of(caller), kind)
        self._check(caller, kind, self._calls[key], 1, f"{what} on this coordinator", "end one first")
        self._calls[key] += 1
        try:
            yield
        finally:
            self._calls[key] -= 1
            if not self._calls[key]:
                del self._calls[key]

    def check_audits(self, caller: Caller, active: Iterable[Audit], more_runs: int) -> None:
        """Checks that the caller may start one more audit, of `more_runs` runs. active: all unfinished audits.

        Raises RefusedCallError(RESOURCE_EXHAUSTED)."""
        mine = [audit for audit in active if audit.owner == caller.name]
        runs = sum(not run.state.over for audit in mine for run in audit.runs.values())
        remedy = "wait until an audit ends, or cancel one (Ctrl-C in its detctl audit)"
        self._check(caller, "max_open_audits", len(mine), 1, "unfinished audits", remedy)
        self._check(caller, "max_planned_runs", runs, more_runs, "unfinished runs", remedy)

    def _check(self, caller: Caller, kind: str, now: int, more: int, what: str, remedy: str) -> None:
        limit: int = getattr(self._quota, kind) * (LOCAL_TIMES if caller == LOCAL else 1)
        if now + more <= limit:
            return
        requested = f" and requests {more:,} more" if more > 1 else ""
        flag = f"--{kind.replace('_', '-')}"
        times = f", {LOCAL_TIMES} times {flag} for the coordinator's own user" if caller == LOCAL else f" ({flag})"
        raise RefusedCallError(
            Code.RESOURCE_EXHAUSTED,
            f"{limits.clean(caller.name, 80)} has {now:,} {what}{requested}; the limit is {limit:,}{times}: {remedy}",
        )


def key_of(caller: Caller) -> str:
    """Returns a key that differs for each caller: a machine and a submitter of the same name are two callers."""
    return f"{caller.role.value} {caller.name}"
