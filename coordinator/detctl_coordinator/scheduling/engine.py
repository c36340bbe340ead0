"""Runs the state machine of audit_lifecycle.py: polls active audits, applies events, stores them by compare-and-set, instructs agents.

Every replica runs one engine on the same store. The first one wins the compare-and-set, and the others read the audit again. All
state except connections is in the store, so a new engine continues where a killed one stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.lifecycle_events import (
    AgentGone,
    AgentSeen,
    Assign,
    Cancel,
    Event,
    Instruction,
    MachineAbsent,
    RunVerified,
    StagesAnswered,
    Stop,
)
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.domain.run import RunRecord, RunState
from detctl_coordinator.observability import metrics
from detctl_coordinator.quotas.byte_budget import ByteBudget
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.audit_log import entries_of
from detctl_coordinator.scheduling.busy_runs import BusyRuns
from detctl_coordinator.scheduling.connections import Connection, Connections
from detctl_coordinator.scheduling.leases import Leases
from detctl_coordinator.scheduling.live_comparison import LiveComparison
from detctl_coordinator.scheduling.refusal_log import RefusalLog
from detctl_coordinator.scheduling.snapshot import Snapshot
from detctl_coordinator.scheduling.verdicts import judge_audit, problem_of_run, totals_of_run
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import read_machines
from detctl_coordinator.storage.store import (
    ConflictError,
    DocumentError,
    FencedError,
    NamedRows,
    RejectedDataError,
    StoreError,
    Unreadable,
)

log = logging.getLogger(__name__)

POLL_S = 0.5
LIVE_S = 1.0
JOIN_S = 24 * 3600.0  # the queue of a cluster may be long, but a run that nobody joins must not wait forever
IMPORT_S = 6 * 3600.0  # an import that has not finished by then was abandoned
LOGGED_MAX = 100_000  # remembered keys of log entries, so that each entry is sent to the store once
CONFLICTS_MAX = 50  # enough for a hundred replicas that change one audit at once


class Engine:
    """See the module's text. `run` polls until it is cancelled; servicers call `apply`."""

    def __init__(
        self,
        store: AsyncStore,
        *,
        lease_s: float,
        machine_timeout_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.connections = Connections()
        self.leases = Leases(lease_s, monotonic)
        self.refusals = RefusalLog(store)
        self._machine_timeout_s = machine_timeout_s
        self._monotonic = monotonic
        self._wake = asyncio.Event()
        self.snapshot = Snapshot()
        # Limits the memory of segments that are being checked: each inflates to many times its size.
        self.inflating = ByteBudget(limits.INFLATING_BYTES_MAX, limits.INFLATING_BYTES_OF_CALLER_MAX)
        self._jobs: dict[tuple[Any, ...], asyncio.Task[None]] = {}
        self._opened: set[tuple[str, int]] = set()
        self._live = LiveComparison(store)
        self._live_at = 0.0
        self._store_down = False
        self._unreadable: set[Unreadable] = set()
        self._logged: set[str] = set()
        self._logged_version: dict[str, int] = {}

    @property
    def store_is_up(self) -> bool:
        """Whether the last read of the store succeeded."""
        return not self._store_down

    # -- what servicers call --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Makes the engine poll now, because something has changed on this replica."""
        self._wake.set()

    async def apply(self, audit_id: str, *events: Event) -> Audit | None:
        """Applies events and returns the audit when the result is durable; None for an unknown audit. Raises StoreError."""
        for _ in range(CONFLICTS_MAX):
            audit = await self.store.audit(audit_id)
            if audit is None:
                return None
            new = _applied(audit, events)
            if new == audit:
                return audit
            try:
                return await self._advance(audit, new)
            except ConflictError:
                continue
        raise StoreError(f"too many callers change audit {audit_id} at once: try again")

    async def machines(self) -> NamedRows[Machine]:
        """Returns all known machines, after updating the leases."""
        machines = read_machines(await self.store.machines())
        self._report_unreadable(machines.unreadable)
        self.leases.observe(machines.values())
        return machines

    def _report_unreadable(self, rows: Iterable[Unreadable]) -> None:
        """Logs each unreadable row once. Lists show it, and everything else works without it."""
        for row in set(rows) - self._unreadable:
            log.error("event=unreadable %s", row.text)
        self._unreadable.update(rows)

    # -- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Polls forever. If the store fails, logs it once and tries again."""
        try:
            await self._write_missing_log_entries()
            while True:
                self._wake.clear()
                begun = time.perf_counter()
                try:
                    await self.step()
                    self._set_store_state(up=True)
                except StoreError as error:
                    self._set_store_state(up=False, error=error)
                except Exception:
                    log.exception("event=engine-failed; trying again")
                # Leave half of the time to callers, however often the engine wakes and however many audits there are.
                await asyncio.sleep(min(POLL_S, time.perf_counter() - begun))
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for job in self._jobs.values():
                job.cancel()

    async def step(self) -> None:
        """Polls once. Raises StoreError."""
        # Read audits before machines, so that the machines' documents are never older than the assignments that depend on them.
        audits = await self.store.active_audits()
        self._report_unreadable(audits.unreadable)
        machines = await self.machines()
        self.leases.forget(audit.audit_id for audit in audits)
        advanced: list[Audit] = []
        busy = BusyRuns(audits)
        for audit in sorted(audits, key=lambda a: (a.created_unix_s, a.audit_id)):
            events = list(self._machine_events(audit, machines, busy.elsewhere(audit)))
            new = _applied(audit, events)
            if new != audit:
                try:
                    new = await self._advance(audit, new)
                except ConflictError:
                    new = audit
                    self.wake()
                except RejectedDataError as error:
                    new = audit  # this audit stops, and all others go on
                    self._report_unreadable([Unreadable("audit", audit.audit_id, str(error))])
            busy.replace(audit, new)
            advanced.append(new)
            await self._write_log(new)
            self._start_jobs(new)
        metrics.set_gauges(
            ((name, self.leases.alive(machine)) for name, machine in machines.items()),
            len(advanced),
            (run.state.value for audit in advanced for run in audit.runs.values()),
        )
        self.snapshot.update(advanced, machines)
        await self._instruct(advanced)
        if self._monotonic() - self._live_at >= LIVE_S:
            self._live_at = self._monotonic()
            for audit in advanced:
                if self._live.can_stop_early(audit):
                    self._job(("live", audit.audit_id), self._compare_live(audit, machines))

    def _machine_events(self, audit: Audit, machines: dict[str, Machine], busy: Mapping[str, int]) -> Iterable[Event]:
        """Yields what has happened to the audit's machines. busy: by machine, the active runs of other audits."""
        if lifecycle.is_import(audit) and time.time() - audit.created_unix_s > IMPORT_S:
            yield Cancel("the import was not finished in time")
        if audit.request.join_only:
            if time.time() - audit.created_unix_s > JOIN_S:
                yield Cancel(f"not every run was joined within {JOIN_S / 3600:.0f} h")
            return  # users run it, so agents with these names do not matter
        for name in audit.request.machines:
            machine = machines.get(name)
            if machine is not None and self._is_here(machine):
                working = frozenset((w.run_id, w.attempt) for w in machine.working)
                yield AgentSeen(name, machine.boot_id, working, machine.parallel_runs, busy[name])
                continue
            if machine is not None and self.leases.alive(machine):
                continue  # it may be connected or gone: wait until its lease is renewed or expires
            if machine is None or self.leases.expired(name):
                yield AgentGone(name)
            missed_s = self.leases.missed_s(audit.audit_id, name)
            if missed_s >= self._machine_timeout_s:
                yield MachineAbsent(name, self._machine_timeout_s)

    def _is_here(self, machine: Machine) -> bool:
        """Returns whether the machine may get runs. A replica that has just started must not trust an old document: another replica,
        which knows that the agent is silent, would take the run back, and the two would use up all attempts."""
        connected_here = self.connections.get(machine.name) is not None
        return self.leases.proven(machine) or (connected_here and self.leases.alive(machine))

    async def _advance(self, old: Audit, new: Audit) -> Audit:
        """Stores an audit, logs the change and wakes its watchers. Raises ConflictError."""
        stored = await self.store.put_audit(new)
        for run_id, run in stored.runs.items():
            before = old.runs.get(run_id)
            if before is None or _logged_state(before) != _logged_state(run):
                log.info(
                    "audit=%s run=%s attempt=%d state=%s %s",
                    new.audit_id,
                    run_id,
                    run.attempt,
                    run.state.value,
                    run.message,
                )
        if old.state is not stored.state:
            log.info("audit=%s state=%s", stored.audit_id, stored.state.value)
        self.wake()
        self.snapshot.record_change(stored)
        await self._write_log(stored)
        return stored

    async def _write_log(self, audit: Audit) -> None:
        if self._logged_version.get(audit.audit_id) == audit.version:
            return  # most polls find an audit unchanged
        if len(self._logged) > LOGGED_MAX:
            self._logged.clear()
            self._logged_version.clear()
        for key, document in entries_of(audit, time.time()):
            if key not in self._logged:
                await self.store.append_log(key, document)
                self._logged.add(key)
        self._logged_version[audit.audit_id] = audit.version

    async def _write_missing_log_entries(self) -> None:
        """Writes the entries that a killed coordinator did not write. Polling covers active audits; this covers those that are over."""
        try:
            for audit in await self.store.audits():
                await self._write_log(audit)
        except StoreError as error:
            self._set_store_state(up=False, error=error)

    # -- agents ---------------------------------------------------------------------------------------------------

    async def _instruct(self, audits: Iterable[Audit]) -> None:
        """Sends instructions on the streams of this replica. An attempt is opened in the store before it is assigned."""
        current: dict[str, RunRecord] = {}
        instructions: defaultdict[str, list[Instruction]] = defaultdict(list)
        for audit in audits:
            current.update(audit.runs)
            for run_id, run in audit.runs.items():
                if run.state in (RunState.ASSIGNED, RunState.RUNNING) and run.attempt:
                    await self._open_attempt(run_id, run.attempt)
            for machine, instruction in lifecycle.instructions(audit):
                instructions[machine].append(instruction)
        for connection in self.connections:
            stops = await self._stops_for_orphaned_runs(connection, current)
            name, boot_id = connection.machine.name, connection.machine.boot_id
            # A restarted agent gets the next attempt. Assignments to its previous boot are no longer its own.
            mine = (
                one for one in instructions[name] if not isinstance(one, Assign) or _boot_of(one, current) == boot_id
            )
            connection.push([*stops, *mine])

    async def _open_attempt(self, run_id: str, attempt: int) -> None:
        if (run_id, attempt) in self._opened:
            return
        try:
            await self.store.open_attempt(run_id, attempt)
        except FencedError:
            log.info("run=%s attempt=%d is older than another replica's", run_id, attempt)
        self._opened.add((run_id, attempt))

    async def _stops_for_orphaned_runs(self, connection: Connection, current: dict[str, RunRecord]) -> list[Stop]:
        known: dict[str, RunRecord] = {}
        unknown = set[str]()
        for working in connection.working:
            try:
                run = current.get(working.run_id) or await self.store.run(working.run_id)
            except DocumentError:
                unknown.add(working.run_id)  # it may still be needed, so it is not stopped
                continue
            if run is not None:
                known[working.run_id] = run
        working_on = [(w.run_id, w.attempt) for w in connection.working if w.run_id not in unknown]
        return lifecycle.stops_for_orphaned_runs(working_on, known)

    # -- longer jobs, each once at a time ------------------------------------------------------------------------------

    def _start_jobs(self, audit: Audit) -> None:
        for run_id, attempt in lifecycle.to_verify(audit):
            self._job(("verify", run_id, attempt), self._verify(audit.audit_id, run_id, attempt))
        if audit.state is AuditState.COMPARING:
            self._job(("judge", audit.audit_id), self._judge(audit))

    def _job(self, key: tuple[Any, ...], work: Coroutine[Any, Any, None]) -> None:
        if key in self._jobs:
            work.close()
            return
        task = asyncio.create_task(self._guarded(key, work))
        self._jobs[key] = task
        task.add_done_callback(lambda _: self._jobs.pop(key, None))

    async def _guarded(self, key: tuple[Any, ...], work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoreError as error:
            log.warning("job=%s store=%s; trying again", key[0], error)
        except Exception:
            log.exception("job=%s id=%s failed", key[0], key[1])

    async def _verify(self, audit_id: str, run_id: str, attempt: int) -> None:
        problem = await self.store.call(problem_of_run, run_id)
        step, records = await self.store.call(totals_of_run, run_id)
        await self.apply(audit_id, RunVerified(run_id, attempt, problem, step, records))

    async def _judge(self, audit: Audit) -> None:
        await self.apply(audit.audit_id, await self.store.call(judge_audit, audit))

    async def _compare_live(self, audit: Audit, machines: dict[str, Machine]) -> None:
        mine = [machines[name] for name in audit.request.machines if name in machines]
        records = sum(w.records for machine in mine for w in machine.working if w.run_id in audit.runs)
        over = sum(run.state.over for run in audit.runs.values())
        step = await self._live.stop_after(audit, hash((records, over)))
        if step is not None:
            await self.apply(audit.audit_id, StagesAnswered(step))

    def _set_store_state(self, *, up: bool, error: StoreError | None = None) -> None:
        if up and self._store_down:
            log.warning("store=back")
        elif not up and not self._store_down:
            metrics.STORE_UP.set(0)
            self.snapshot.set_store_down()
            log.error("store=down %s; trying again every %.1f s", error, POLL_S)
        self._store_down = not up


def _applied(audit: Audit, events: Iterable[Event]) -> Audit:
    for event in events:
        audit = lifecycle.apply(audit, event)
    return audit


def _boot_of(assignment: Assign, current: Mapping[str, RunRecord]) -> str:
    return current[assignment.spec.run_id].boot_id


def _logged_state(run: RunRecord) -> tuple[Any, ...]:
    """Returns the fields whose change the log shows."""
    return run.state, run.attempt, run.outcome is None
