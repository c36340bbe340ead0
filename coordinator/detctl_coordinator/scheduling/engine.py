"""The shell around audit_lifecycle.py: polls active audits, applies the core, advances by compare-and-set, tells the agents.

Every replica runs one engine on the same store and does the same; whoever comes first wins the compare-and-set, the other looks
again. Nothing but connections lives outside the store: an engine that starts afresh goes on where the last one was killed.
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
from detctl_coordinator.scheduling.live_comparison import Live
from detctl_coordinator.scheduling.looks import Looks
from detctl_coordinator.scheduling.machine_rows import read_machines
from detctl_coordinator.scheduling.refusal_log import RefusalLog
from detctl_coordinator.scheduling.verdicts import judge_audit, problem_of_run, totals_of_run
from detctl_coordinator.storage.async_store import AsyncStore
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
JOIN_S = 24 * 3600.0  # a queue of a cluster may be long; nobody waits for ever
IMPORT_S = 6 * 3600.0  # whoever imports a folder is gone by then
LOGGED_MAX = 100_000  # keys of log entries that are remembered, so that each is sent to the store once
CONFLICTS_MAX = 50  # a hundred replicas hitting one audit at once still get through


class Engine:
    """See the module's text. `run` until cancelled; `tell` from servicers."""

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
        self.looks = Looks()
        # Of segments that are checked: each inflates to many times its size for a moment.
        self.inflating = ByteBudget(limits.INFLATING_BYTES_MAX, limits.INFLATING_BYTES_OF_CALLER_MAX)
        self._jobs: dict[tuple[Any, ...], asyncio.Task[None]] = {}
        self._opened: set[tuple[str, int]] = set()
        self._live = Live(store)
        self._live_at = 0.0
        self._store_down = False
        self._unreadable: set[Unreadable] = set()
        self._logged: set[str] = set()
        self._logged_version: dict[str, int] = {}

    @property
    def store_is_up(self) -> bool:
        """As the last look at it told."""
        return not self._store_down

    # -- what servicers call --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something happened here: look at the state now instead of at the next poll."""
        self._wake.set()

    async def tell(self, audit_id: str, *events: Event) -> Audit | None:
        """Applies events; returns when the result is durable. None: no such audit. Raises StoreError."""
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
        raise StoreError(f"audit {audit_id} is changed by too many at once")

    async def machines(self) -> NamedRows[Machine]:
        """All known machines, leases brought up to date."""
        machines = read_machines(await self.store.machines())
        self._report_unreadable(machines.unreadable)
        self.leases.observe(machines.values())
        return machines

    def _report_unreadable(self, rows: Iterable[Unreadable]) -> None:
        """Once a row: lists show it, and everything else goes on without it."""
        for row in set(rows) - self._unreadable:
            log.error("event=unreadable %s", row.text)
        self._unreadable.update(rows)

    # -- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Polls for ever. A store that fails is said once and tried again."""
        try:
            await self._make_up_log()
            while True:
                self._wake.clear()
                begun = time.perf_counter()
                try:
                    await self.step()
                    self._store_is(up=True)
                except StoreError as error:
                    self._store_is(up=False, error=error)
                except Exception:
                    log.exception("event=engine-failed; trying again")
                # Whatever wakes it, and however many audits there are: half of the time belongs to those who call.
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
        """One look at everything. Raises StoreError."""
        # Audits first: the machines' documents are then never older than the assignments that rest on them.
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
                    new = audit  # it stands still, and all others go on
                    self._report_unreadable([Unreadable("audit", audit.audit_id, str(error))])
            busy.replace(audit, new)
            advanced.append(new)
            await self._write_log(new)
            self._start_jobs(new)
        metrics.looked(
            ((name, self.leases.alive(machine)) for name, machine in machines.items()),
            len(advanced),
            (run.state.value for audit in advanced for run in audit.runs.values()),
        )
        self.looks.saw(advanced, machines)
        await self._instruct(advanced)
        if self._monotonic() - self._live_at >= LIVE_S:
            self._live_at = self._monotonic()
            for audit in advanced:
                if self._live.wanted(audit):
                    self._job(("live", audit.audit_id), self._look_live(audit, machines))

    def _machine_events(self, audit: Audit, machines: dict[str, Machine], busy: Mapping[str, int]) -> Iterable[Event]:
        """busy: by machine, runs of other audits that it has in hand."""
        if lifecycle.is_import(audit) and time.time() - audit.created_unix_s > IMPORT_S:
            yield Cancel("the import was never finished")
        if audit.request.join_only:
            if time.time() - audit.created_unix_s > JOIN_S:
                yield Cancel(f"not every run was joined within {JOIN_S / 3600:.0f} h")
            return  # an agent of that name has nothing to do with it
        for name in audit.request.machines:
            machine = machines.get(name)
            if machine is not None and self._is_here(machine):
                working = frozenset((w.run_id, w.attempt) for w in machine.working)
                yield AgentSeen(name, machine.boot_id, working, machine.parallel_runs, busy[name])
                continue
            if machine is not None and self.leases.alive(machine):
                continue  # not known to be here, nor to be gone: it has a lease to tell
            if machine is None or self.leases.expired(name):
                yield AgentGone(name)
            missed_s = self.leases.missed_s(audit.audit_id, name)
            if missed_s >= self._machine_timeout_s:
                yield MachineAbsent(name, self._machine_timeout_s)

    def _is_here(self, machine: Machine) -> bool:
        """Whether it may be given work. A replica that just started must not believe an old document: another one, which knows that
        the agent is silent, would take the run back at once, and both go on until the attempts are used up."""
        connected_here = self.connections.get(machine.name) is not None
        return self.leases.proven(machine) or (connected_here and self.leases.alive(machine))

    async def _advance(self, old: Audit, new: Audit) -> Audit:
        """Stores, logs, wakes who follows. Raises ConflictError."""
        stored = await self.store.put_audit(new)
        for run_id, run in stored.runs.items():
            before = old.runs.get(run_id)
            if before is None or _told(before) != _told(run):
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
        self.looks.advanced(stored)
        await self._write_log(stored)
        return stored

    async def _write_log(self, audit: Audit) -> None:
        if self._logged_version.get(audit.audit_id) == audit.version:
            return  # most looks at an audit find it as it was
        if len(self._logged) > LOGGED_MAX:
            self._logged.clear()
            self._logged_version.clear()
        for key, document in entries_of(audit, time.time()):
            if key not in self._logged:
                await self.store.append_log(key, document)
                self._logged.add(key)
        self._logged_version[audit.audit_id] = audit.version

    async def _make_up_log(self) -> None:
        """What a coordinator that was killed changed and did not write down: active audits are looked at anyway, these are over."""
        try:
            for audit in await self.store.audits():
                await self._write_log(audit)
        except StoreError as error:
            self._store_is(up=False, error=error)

    # -- agents ---------------------------------------------------------------------------------------------------

    async def _instruct(self, audits: Iterable[Audit]) -> None:
        """Pushes what the state wants to the streams held here. An attempt is opened in the store before it is assigned."""
        current: dict[str, RunRecord] = {}
        wanted: defaultdict[str, list[Instruction]] = defaultdict(list)
        for audit in audits:
            current.update(audit.runs)
            for run_id, run in audit.runs.items():
                if run.state in (RunState.ASSIGNED, RunState.RUNNING) and run.attempt:
                    await self._open_attempt(run_id, run.attempt)
            for machine, instruction in lifecycle.wanted(audit):
                wanted[machine].append(instruction)
        for connection in self.connections:
            stops = await self._strays(connection, current)
            name, boot_id = connection.machine.name, connection.machine.boot_id
            # An agent that was started again gets the next attempt: what was assigned to the one before is no longer its own.
            mine = (one for one in wanted[name] if not isinstance(one, Assign) or _boot_of(one, current) == boot_id)
            connection.push([*stops, *mine])

    async def _open_attempt(self, run_id: str, attempt: int) -> None:
        if (run_id, attempt) in self._opened:
            return
        try:
            await self.store.open_attempt(run_id, attempt)
        except FencedError:
            log.info("run=%s attempt=%d is older than another replica's", run_id, attempt)
        self._opened.add((run_id, attempt))

    async def _strays(self, connection: Connection, current: dict[str, RunRecord]) -> list[Stop]:
        known: dict[str, RunRecord] = {}
        unknown = set[str]()
        for working in connection.working:
            try:
                run = current.get(working.run_id) or await self.store.run(working.run_id)
            except DocumentError:
                unknown.add(working.run_id)  # nobody can say that it is not wanted
                continue
            if run is not None:
                known[working.run_id] = run
        working_on = [(w.run_id, w.attempt) for w in connection.working if w.run_id not in unknown]
        return lifecycle.strays(working_on, known)

    # -- longer work, once at a time ------------------------------------------------------------------------------

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
        await self.tell(audit_id, RunVerified(run_id, attempt, problem, step, records))

    async def _judge(self, audit: Audit) -> None:
        await self.tell(audit.audit_id, await self.store.call(judge_audit, audit))

    async def _look_live(self, audit: Audit, machines: dict[str, Machine]) -> None:
        mine = [machines[name] for name in audit.request.machines if name in machines]
        records = sum(w.records for machine in mine for w in machine.working if w.run_id in audit.runs)
        over = sum(run.state.over for run in audit.runs.values())
        step = await self._live.stop_after(audit, hash((records, over)))
        if step is not None:
            await self.tell(audit.audit_id, StagesAnswered(step))

    def _store_is(self, *, up: bool, error: StoreError | None = None) -> None:
        if up and self._store_down:
            log.warning("store=back")
        elif not up and not self._store_down:
            metrics.STORE_UP.set(0)
            self.looks.failed()
            log.error("store=down %s; trying again every %.1f s", error, POLL_S)
        self._store_down = not up


def _applied(audit: Audit, events: Iterable[Event]) -> Audit:
    for event in events:
        audit = lifecycle.apply(audit, event)
    return audit


def _boot_of(assignment: Assign, current: Mapping[str, RunRecord]) -> str:
    return current[assignment.spec.run_id].boot_id


def _told(run: RunRecord) -> tuple[Any, ...]:
    """What the log tells of a run when it changes."""
    return run.state, run.attempt, run.outcome is None
