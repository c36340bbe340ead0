"""What one caller may have at a time: calls and streams on this replica, and audits that are not over. More is refused, with a sentence.

The coordinator's own user (its socket, its token file) has LOCAL_TIMES as much: it looks after everybody's audits, but a script that
runs wild is stopped there too.
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
    """Of one caller; each number is a setting of the same name, with its default (settings.py)."""

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
        kind, what = "max_calls", "calls under way"
        if name in _STREAMS:
            kind, what = "max_streams", "streams"
        elif name in _WATCHES:
            kind, what = "max_watch_calls", "watch calls"
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
        """`active`: audits that are not over; more_runs: of the one that is to begin. Raises RefusedCallError(RESOURCE_EXHAUSTED)."""
        mine = [audit for audit in active if audit.owner == caller.name]
        runs = sum(not run.state.over for audit in mine for run in audit.runs.values())
        end = "wait until one is over, or cancel one (Ctrl-C in its detctl audit)"
        self._check(caller, "max_open_audits", len(mine), 1, "audits that are not over", end)
        self._check(caller, "max_planned_runs", runs, more_runs, "runs that are not over", end)

    def _check(self, caller: Caller, kind: str, now: int, more: int, what: str, remedy: str) -> None:
        limit: int = getattr(self._quota, kind) * (LOCAL_TIMES if caller == LOCAL else 1)
        if now + more <= limit:
            return
        asked = f" and asks for {more:,} more" if more > 1 else ""
        flag = f"--{kind.replace('_', '-')}"
        times = f", {LOCAL_TIMES} times {flag} for the coordinator's own user" if caller == LOCAL else f" ({flag})"
        raise RefusedCallError(
            Code.RESOURCE_EXHAUSTED,
            f"{limits.clean(caller.name, 80)} has {now:,} {what}{asked}; the limit is {limit:,}{times}: {remedy}",
        )


def key_of(caller: Caller) -> str:
    """One text a caller: a machine and a submitter of one name are two."""
    return f"{caller.role.value} {caller.name}"
