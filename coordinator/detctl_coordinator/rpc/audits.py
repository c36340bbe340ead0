"""The Audits service, which the CLI calls. planning/ plans and selects runs, and audit_lifecycle.py holds the states of an audit."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from detctl_proto.limits import LIST_MAX, OUTPUT_TAIL_CHARS_MAX
from detctl_proto.recordings.run_documents import RUN_ENDS
from detctl_proto.syntax.names import is_name
from detctl_proto.v1 import audits_pb2 as pb
from detctl_proto.v1 import audits_pb2_grpc

from detctl_coordinator import limits
from detctl_coordinator.auth.caller_context import current_caller, peer_of
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.identity import LOCAL
from detctl_coordinator.domain.lifecycle_events import Cancel, Explain, RunEnded, RunJoined
from detctl_coordinator.domain.run import RunOutcome, RunRecord, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.errors.translator import streaming, unary
from detctl_coordinator.planning.imports import is_import_id, plan_import
from detctl_coordinator.planning.joins import expected_machines, run_to_join, still_waiting, without_agents
from detctl_coordinator.planning.plan import Planned, plan_runs
from detctl_coordinator.planning.run_holders import Sender, may_manage, new_secret, refusal_reason, sent_by_users
from detctl_coordinator.planning.selection import choose_runs
from detctl_coordinator.quotas.quotas import Quotas
from detctl_coordinator.rpc import show
from detctl_coordinator.rpc.watches import Watches
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.audit_log import entry
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.scheduling.progress import run_with_progress
from detctl_coordinator.scheduling.verdicts import judge_runs
from detctl_coordinator.storage.store import Rows
from detctl_coordinator.wire import audits as wire
from detctl_coordinator.wire.checks import identifier, json_object
from detctl_coordinator.wire.control import manifest_of

CHECK_S = 1.0  # how often FinishImport reads the audit if no change wakes it


class AuditsServicer(audits_pb2_grpc.AuditsServicer):
    """See audits.proto."""

    def __init__(self, engine: Engine, quotas: Quotas) -> None:
        self._engine = engine
        self._store = engine.store
        self._quotas = quotas
        self._start_lock = asyncio.Lock()  # held from counting the open audits to storing the new one
        self._watches = Watches(engine)

    @unary
    async def PlanAudit(self, request: pb.AuditRequest, context: Any) -> pb.AuditPlan:  # noqa: N802
        planned = await self._plan(_request(request))
        return wire.plan_to_proto("", planned.specs, planned.warnings)

    @unary
    async def StartAudit(self, request: pb.AuditRequest, context: Any) -> pb.AuditPlan:  # noqa: N802
        requested = _request(request)
        audit_id = "a" + secrets.token_hex(5)
        caller = current_caller()
        if caller != LOCAL:
            requested = replace(requested, requested_by=caller.name)  # the proven name, not the claimed one
        planned = await self._plan(requested, audit_id)
        await self._start(lifecycle.plan(audit_id, requested, planned.specs, time.time(), caller.name))
        self._engine.wake()
        return wire.plan_to_proto(audit_id, planned.specs, planned.warnings)

    async def _start(self, audit: Audit) -> Audit:
        """Stores a new audit. Raises RefusedCallError if its owner has too many."""
        async with self._start_lock:
            self._quotas.check_audits(current_caller(), await self._active(), len(audit.runs))
            stored = await self._store.put_audit(audit)
            self._engine.snapshot.record_change(stored)
            return stored

    async def _active(self) -> Iterable[Audit]:
        """Returns the unfinished audits: those of the engine's snapshot, and those that were started here since."""
        return self._engine.snapshot.audits() if self._engine.snapshot.complete else await self._store.active_audits()

    async def _plan(self, requested: AuditRequest, audit_id: str = "") -> Planned:
        if requested.join_only:
            return plan_runs(requested, expected_machines(requested), requested.machines, audit_id)
        machines = await self._engine.machines()
        return plan_runs(requested, machines, self._alive(machines), audit_id)

    @unary
    async def JoinAudit(self, request: pb.JoinRequest, context: Any) -> pb.JoinReply:  # noqa: N802
        identifier(request.holder, "holder")
        caller = current_caller()
        secret, digest = new_secret()
        while True:
            audit = await self._audit(request.audit_id)
            try:
                run = run_to_join(
                    audit, request.machine, request.environment, request.holder, caller, again=request.again
                )
            except RefusedCallError as refusal:
                if refusal.code is Code.PERMISSION_DENIED:
                    await self._log_refusal(context, audit, "join", refusal.text, request.machine)
                raise
            before = run.holder
            joined = RunJoined(
                run.spec.run_id, request.holder, request.again, caller.name, digest, may_manage(audit, caller)
            )
            # If two callers request the same run, one gets it, and the other tries the next run.
            changed = await self._engine.apply(audit.audit_id, joined)
            if changed is not None and (run := changed.runs.get(run.spec.run_id, run)).secret_digest == digest:
                break
        await self._store.open_attempt(run.spec.run_id, run.attempt)
        key = f"run:{run.spec.run_id}:{run.attempt}:joined"
        text = f"{run.spec.run_id} ({run.spec.label}), attempt {run.attempt}"
        if before not in ("", caller.name):
            text += f", taken over from {before}"
        document = entry(time.time(), caller.name, "run-joined", text, audit_id=audit.audit_id, machine=request.machine)
        await self._store.append_log(key, document)
        return wire.join_to_proto(run, still_waiting(changed, request.machine), secret)

    @streaming
    async def WatchAudit(self, request: pb.AuditRef, context: Any) -> AsyncIterator[bytes]:  # noqa: N802
        async for progress in self._watches.watch(request.audit_id):
            yield progress

    @unary
    async def CancelAudit(self, request: pb.AuditRef, context: Any) -> pb.Empty:  # noqa: N802
        audit = await self._managed(context, request.audit_id, "cancel")
        if audit.state in (AuditState.RUNNING, AuditState.COMPARING):
            await self._log_event("cancel-requested", f"{audit.audit_id} ({audit.request.recipe})", audit.audit_id)
        await self._engine.apply(request.audit_id, Cancel(f"cancelled by {_user()}"))
        return pb.Empty()

    @unary
    async def ExplainAudit(self, request: pb.ExplainRequest, context: Any) -> pb.Empty:  # noqa: N802
        audit = await self._managed(context, request.audit_id, "explain")
        if audit.state is AuditState.CANCELLED and not audit.verdict_json:
            raise RefusedCallError(
                Code.FAILED_PRECONDITION,
                f"audit {audit.audit_id} was cancelled before its verdict; run it again: detctl audit {audit.request.recipe} --explain",
            )
        if not audit.request.machines or audit.request.join_only:
            what = "has no agents" if audit.request.join_only else "is an import"
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"audit {audit.audit_id} {what}, so no machine can run experiments for it"
            )
        caller = current_caller()
        if audit.state in (AuditState.DONE, AuditState.CANCELLED):
            self._quotas.check_audits(caller, await self._active(), 0)
        await self._log_event("audit-explained", f"{audit.audit_id} ({audit.request.recipe})", audit.audit_id)
        await self._engine.apply(audit.audit_id, Explain(request.budget_runs, request.self_test))
        return pb.Empty()

    @unary
    async def Compare(self, request: pb.CompareRequest, context: Any) -> pb.VerdictReply:  # noqa: N802
        if request.audit_id and not request.machines and not request.run_ids:
            audit = await self._audit(request.audit_id)
            if audit.state is AuditState.CANCELLED:
                raise RefusedCallError(
                    Code.FAILED_PRECONDITION,
                    f"audit {audit.audit_id} was cancelled; run it again: detctl audit {audit.request.recipe}",
                )
            if not audit.verdict_json:
                raise RefusedCallError(
                    Code.FAILED_PRECONDITION, f"audit {audit.audit_id} is still {audit.state.value}; wait for it"
                )
            if audit.request.strict or not request.strict:
                return pb.VerdictReply(verdict_json=audit.verdict_json)
            chosen: tuple[Audit | None, list[RunRecord]] = audit, audit.runs_for("")
        else:
            chosen = await self._store.call(
                choose_runs, request.machines, request.recipe, request.audit_id, request.run_ids
            )
        return pb.VerdictReply(verdict_json=await self._store.call(judge_runs, chosen, request.strict))

    @unary
    async def ListMachines(self, request: pb.ListRequest, context: Any) -> pb.MachineList:  # noqa: N802
        machines = await self._engine.machines()
        alive = self._alive(machines)
        rows = [
            wire.machine_to_proto(machine, name in alive)
            for name, machine in sorted(machines.items())
            if request.machine in ("", name) and (not request.recipe or request.recipe in machine.recipes)
        ]
        unreadable = [wire.unreadable_machine(row) for row in machines.unreadable if request.machine in ("", row.name)]
        return pb.MachineList(machines=[*unreadable, *rows][: _limit(request)])

    @unary
    async def ListRuns(self, request: pb.ListRequest, context: Any) -> pb.RunList:  # noqa: N802
        limit = _limit(request)
        page = LIST_MAX if request.since_unix_s or request.until_unix_s else limit + 1
        runs = await self._store.runs(
            audit_id=request.audit_id, machine=request.machine, recipe=request.recipe, limit=page
        )
        machines = await self._engine.machines()
        rows = [wire.unreadable_run(row) for row in runs.unreadable]
        rows += [
            wire.run_info_to_proto(run_with_progress(run, machines))
            for run in runs
            if _created_within(run.created_unix_s, request)
        ]
        return pb.RunList(runs=rows[:limit], more=len(rows) > limit or _size(runs) >= page)

    @unary
    async def ListAudits(self, request: pb.ListRequest, context: Any) -> pb.AuditList:  # noqa: N802
        limit = _limit(request)
        narrowed = request.machine or request.recipe or request.audit_id or request.outcome
        page = LIST_MAX if narrowed or request.since_unix_s or request.until_unix_s else limit + 1
        audits = await self._store.audits(page)
        if sum(not is_import_id(audit.audit_id) for audit in audits) <= limit <= _size(audits) < LIST_MAX:
            audits = await self._store.audits(page := LIST_MAX)  # imports are not listed, and there may be many
        infos = [
            wire.audit_info_to_proto(audit)
            for audit in audits
            if not is_import_id(audit.audit_id)
            and request.audit_id in ("", audit.audit_id)
            and request.recipe in ("", audit.request.recipe)
            and (not request.machine or request.machine in audit.request.machines)
            and _created_within(audit.created_unix_s, request)
        ]
        rows = [info for info in infos if request.outcome in ("", info.outcome)]
        # Nothing but the id of an unreadable audit is known, so only a filter by audit id can exclude it.
        unreadable = [wire.unreadable_audit(row) for row in audits.unreadable if request.audit_id in ("", row.name)]
        listed = [*unreadable, *rows]
        more = len(listed) > limit or (_size(audits) >= page and not request.audit_id)
        return pb.AuditList(audits=listed[:limit], more=more)

    @unary
    async def Show(self, request: pb.ShowRequest, context: Any) -> pb.ShowReply:  # noqa: N802
        machines = await self._engine.machines()
        kind, text = await self._store.call(show.show, request.id, machines, self._alive(machines))
        return pb.ShowReply(kind=kind, json=text)

    @unary
    async def DeleteRuns(self, request: pb.DeleteRequest, context: Any) -> pb.DeleteReply:  # noqa: N802
        if request.older_than_s > 0:
            await self._log_event("runs-deleted", f"all runs older than {request.older_than_s:g} s")
            before = time.time() - request.older_than_s
            return pb.DeleteReply(run_ids=await self._store.delete_older_than(before, request.keep_audits))
        run_ids = list(request.run_ids)
        if request.audit_id:
            run_ids += (await self._audit(request.audit_id)).runs
        if not run_ids:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, "the request names nothing to delete: name run ids, an audit or an age"
            )
        for run_id in run_ids:
            run = await self._store.run(run_id) if is_name(run_id) else None
            if run is None:
                raise RefusedCallError(
                    Code.NOT_FOUND, f"no run has the id {limits.clean(run_id, 80)!r}; see detctl runs"
                )
            audit = await self._store.audit(run.spec.audit_id)
            if not run.state.over or (audit is not None and audit.state in (AuditState.RUNNING, AuditState.COMPARING)):
                text = f"run {run_id} belongs to audit {run.spec.audit_id}, which has not ended; cancel it first"
                raise RefusedCallError(Code.FAILED_PRECONDITION, text)
        await self._log_event(
            "runs-deleted", ", ".join(run_ids[:20]) + (" …" if len(run_ids) > 20 else ""), request.audit_id
        )
        return pb.DeleteReply(run_ids=await self._store.delete_runs(run_ids))

    @unary
    async def ImportRun(self, request: pb.ImportRequest, context: Any) -> pb.ImportReply:  # noqa: N802
        run_json = json_object(request.run_json, limits.DETAIL_BYTES_MAX, "run.json")
        secret, digest = new_secret()
        audit = await self._start(plan_import(request.label, run_json, time.time(), current_caller().name, digest))
        (run_id,) = audit.runs
        await self._store.open_attempt(run_id, 1)
        return pb.ImportReply(run_id=run_id, secret=secret)

    @unary
    async def FinishImport(self, request: pb.ImportFinished, context: Any) -> pb.Empty:  # noqa: N802
        run = await self._store.run(request.run_id) if is_name(request.run_id) else None
        audit = await self._store.audit(run.spec.audit_id) if run is not None else None
        if run is None or audit is None or not sent_by_users(audit):
            raise RefusedCallError(Code.NOT_FOUND, f"no import {limits.clean(request.run_id, 80)!r} is in progress")
        joined = audit.request.join_only
        if why := refusal_reason(run, _sender(context), request.secret, by_users=True):
            await self._log_refusal(context, audit, "finish", why, run.spec.arm.machine, run.spec.run_id)
            raise RefusedCallError(Code.PERMISSION_DENIED, why)
        if request.end not in RUN_ENDS:
            raise RefusedCallError(Code.INVALID_ARGUMENT, f"unknown end {limits.clean(request.end, 40)!r}")
        outcome = RunOutcome(
            end=request.end if request.end != "lost" or joined else "exit",
            exit_code=request.exit_code,
            message=limits.clean(request.message),
            output_tail=request.output_tail[-OUTPUT_TAIL_CHARS_MAX:],
            ranks=request.ranks,
        )
        manifest = manifest_of(request.manifest_json, "the manifest")
        attempt = request.attempt or run.attempt
        snapshot = self._engine.snapshot
        seen = snapshot.number
        ended = await self._engine.apply(run.spec.audit_id, RunEnded(request.run_id, attempt, outcome, manifest))
        if ended is not None and _ended_otherwise(ended.runs.get(request.run_id), attempt, outcome, manifest):
            why = f"run {request.run_id} has already ended with another outcome: nothing was changed"
            await self._log_refusal(context, audit, "other-content", why, run.spec.arm.machine, request.run_id)
            raise RefusedCallError(Code.FAILED_PRECONDITION, why)
        # The caller compares next, so wait until the data has been checked against the seals.
        while ended is not None and _to_check(ended, request.run_id):
            await snapshot.wait_for_change(seen, CHECK_S)
            seen = snapshot.number
            ended = snapshot.audit(ended.audit_id) or await self._store.audit(ended.audit_id)
        return pb.Empty()

    async def _log_event(self, event: str, text: str, audit_id: str = "") -> None:
        document = entry(time.time(), current_caller().name, event, text, audit_id=audit_id)
        await self._store.append_log(f"{event}:{secrets.token_hex(8)}", document)

    async def _log_refusal(
        self, context: Any, audit: Audit, kind: str, why: str, machine: str = "", subject: str = ""
    ) -> None:
        await self._engine.refusals.append(
            _sender(context), subject or audit.audit_id, kind, why, audit_id=audit.audit_id, machine=machine
        )

    async def _managed(self, context: Any, audit_id: str, verb: str) -> Audit:
        """Returns the audit if the caller may manage it, else logs the attempt and raises RefusedCallError."""
        audit = await self._audit(audit_id)
        if not may_manage(audit, current_caller()):
            owner = audit.owner or audit.request.requested_by or "nobody"
            why = f"audit {audit.audit_id} was started by {owner}: only {owner} and administrators may {verb} it"
            await self._log_refusal(context, audit, verb, why)
            raise RefusedCallError(Code.PERMISSION_DENIED, why)
        return audit

    async def _audit(self, audit_id: str) -> Audit:
        audit = await self._store.audit(audit_id) if is_name(audit_id) else None
        if audit is None:
            raise RefusedCallError(
                Code.NOT_FOUND, f"no audit has the id {limits.clean(audit_id, 80)!r}; see detctl audits"
            )
        return audit

    def _alive(self, machines: Any) -> set[str]:
        return {name for name, machine in machines.items() if self._engine.leases.alive(machine)}


def _request(request: pb.AuditRequest) -> AuditRequest:
    requested = wire.request_from_proto(request)
    return without_agents(requested) if requested.join_only else requested


def _ended_otherwise(run: RunRecord | None, attempt: int, outcome: RunOutcome, manifest: Mapping[str, Any]) -> bool:
    """Returns whether the store holds a valid end of this attempt that differs from the one in the message."""
    if run is None or run.attempt != attempt or run.outcome is None:
        return False
    if run.state not in (RunState.RUNNING, RunState.SEALED):
        return False  # damaged, cancelled or lost: the end that was sent does not count
    return run.outcome != outcome or bool(manifest and run.manifest != manifest)


def _to_check(audit: Audit, run_id: str) -> bool:
    """Returns whether this run has ended and its data still has to be checked."""
    return run_id in {waiting for waiting, _ in lifecycle.to_verify(audit)}


def _sender(context: Any) -> Sender:
    return Sender(current_caller(), "", peer_of(context))


def _user() -> str:
    caller = current_caller()
    return "its user" if caller == LOCAL else caller.name


def _size(rows: Rows[Any]) -> int:
    return len(rows) + len(rows.unreadable)


def _created_within(created_unix_s: float, request: pb.ListRequest) -> bool:
    return request.since_unix_s <= created_unix_s and (
        not request.until_unix_s or created_unix_s < request.until_unix_s
    )


def _limit(request: pb.ListRequest) -> int:
    return min(request.limit or 100, LIST_MAX)
