"""The state machine of an audit. Pure: `apply` maps a state and an event to the next state, `instructions` maps a state to what agents
must do. No I/O, no clock.

An audit goes RUNNING -> COMPARING -> DONE. It returns to RUNNING if a verdict needs more runs (`Judged.more`).

A run goes WAITING -> ASSIGNED -> RUNNING -> (outcome known) -> SEALED | FAILED, or CANCELLED from any state before its end.
ASSIGNED means that the agent has not accepted the run yet. RUNNING with an outcome means that the run has ended and its data must be
checked (`to_verify`). If the agent restarts or disappears, the run goes back to WAITING and is assigned again under the next attempt
number, and the store refuses data of the older attempt. ASSIGNED runs, and RUNNING runs without an outcome, occupy a slot of their
machine.

These rules hold for any sequence of events (tests/unit/coordinator/test_lifecycle_properties.py): a run that is over never changes;
attempt numbers only grow and stop at ATTEMPTS_MAX; applying an event twice has the same effect as applying it once; a run that is
over gets no instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.lifecycle_events import (
    AgentGone,
    AgentSeen,
    Assign,
    Cancel,
    Event,
    Explain,
    Instruction,
    Judged,
    MachineAbsent,
    RunAccepted,
    RunDamaged,
    RunEnded,
    RunJoined,
    RunProgress,
    RunRefused,
    RunRunning,
    RunVerified,
    StagesAnswered,
    Stop,
)
from detctl_coordinator.domain.run import RunOutcome, RunRecord, RunSpec, RunState

# A machine that lost a run three times will probably lose it again, so the run fails instead of wasting GPU hours.
ATTEMPTS_MAX = 3
# Ends that a twin would most likely share.
FAILING_ENDS = ("timeout", "output-limit", "disk-full", "refused")


def plan(audit_id: str, request: AuditRequest, specs: Iterable[RunSpec], now_unix_s: float, owner: str = "") -> Audit:
    """Returns a new audit whose runs wait in the order of `specs`. owner: the name of the caller who starts it."""
    runs = {spec.run_id: RunRecord(spec=spec, created_unix_s=now_unix_s) for spec in specs}
    return Audit(audit_id, request, runs, created_unix_s=now_unix_s, message="planned", owner=owner)


def apply(audit: Audit, event: Event) -> Audit:
    """Returns the audit after the event; the same object if the event changes nothing."""
    if isinstance(event, Judged):
        if audit.state is not AuditState.COMPARING:
            return audit
        if event.more:  # if the audit has these runs, another replica has sent the same verdict before
            return audit if event.more[0].run_id in audit.runs else _run_more(audit, event)
        return replace(audit, state=AuditState.DONE, verdict_json=event.verdict_json, message="verdict")
    if isinstance(event, Cancel):
        return _cancel(audit, event)
    if isinstance(event, Explain):
        return _explain(audit, event)
    if audit.state is not AuditState.RUNNING:
        return audit
    if isinstance(event, StagesAnswered):
        if audit.stop_after_step is not None:
            return audit
        return replace(
            audit,
            stop_after_step=event.after_step,
            message=f"the comparison of every stage is decided: the runs stop after step {event.after_step}",
        )
    if isinstance(event, AgentSeen):
        changed = _agent_seen(audit, event)
    elif isinstance(event, AgentGone):
        changed = _on_machine(
            audit, event.machine, lambda run: _lost(run, "its agent went silent") if is_active(run) else run
        )
    elif isinstance(event, RunJoined):
        changed = _joined(audit, event)
    elif isinstance(event, MachineAbsent):
        changed = _on_machine(audit, event.machine, lambda run: _absent(run, event))
    else:
        run = audit.runs.get(event.run_id)
        if run is None or run.state.over or run.attempt != event.attempt or run.state is RunState.WAITING:
            return audit
        changed = _with(audit, {event.run_id: _run_event(run, event)})
    if changed is not audit:
        changed = _stopped(changed)
    return audit if changed is audit else _settled(changed)


def instructions(audit: Audit) -> Iterator[tuple[str, Instruction]]:
    """Yields (machine, instruction that follows from the state). Level-triggered: they are repeated until the state changes."""
    if audit.state is not AuditState.RUNNING:
        return
    for run in audit.runs.values():
        if not is_active(run):
            continue
        machine = run.spec.arm.machine
        if run.state is RunState.ASSIGNED:
            yield machine, Assign(run.spec, run.attempt)
        elif audit.stop_after_step is not None and not run.spec.purpose:
            reason = "the comparison of every stage is decided"
            yield machine, Stop(run.spec.run_id, run.attempt, audit.stop_after_step, reason)


def stops_for_orphaned_runs(working: Iterable[tuple[str, int]], known: Mapping[str, RunRecord]) -> list[Stop]:
    """Returns stops for runs that an agent works on and no audit needs: older attempts, runs that are over, deleted runs.

    An ended run whose last message is still on its way gets no stop: `known` has it sealed, or with an outcome.
    """
    stops = []
    for run_id, attempt in working:
        run = known.get(run_id)
        if run is None:
            reason = "this run was deleted"
        elif attempt < run.attempt or (attempt == run.attempt and run.state is RunState.WAITING):
            reason = "a newer attempt has replaced it"
        elif run.state in (RunState.FAILED, RunState.CANCELLED):
            reason = run.message or run.state.value
        else:
            continue
        stops.append(Stop(run_id, attempt, None, reason))
    return stops


def to_verify(audit: Audit) -> list[tuple[str, int]]:
    """Returns (run id, attempt) of the runs that have ended and whose data must still be checked."""
    return [
        (run.spec.run_id, run.attempt) for run in audit.runs.values() if run.outcome is not None and not run.state.over
    ]


def is_import(audit: Audit) -> bool:
    """Returns whether the audit was imported from a folder: no agent takes part, and no verdict is computed automatically."""
    return not audit.request.machines


# -- one run ------------------------------------------------------------------------------------------------------


def is_active(run: RunRecord) -> bool:
    """Returns whether the run is being trained now, or is assigned."""
    return run.state in (RunState.ASSIGNED, RunState.RUNNING) and run.outcome is None


def _run_event(
    run: RunRecord, event: RunAccepted | RunRunning | RunProgress | RunEnded | RunRefused | RunDamaged | RunVerified
) -> RunRecord:
    """Returns the run after an event of its current attempt. Before it, the run is ASSIGNED or RUNNING."""
    if isinstance(event, RunVerified):
        if run.outcome is None:
            return run
        state = RunState.FAILED if event.problem else RunState.SEALED
        message = event.problem or run.outcome.message
        return replace(run, state=state, message=message, step=event.step, records=event.records)
    if isinstance(event, RunDamaged):
        outcome = run.outcome or RunOutcome(end="damaged", message=event.message)
        return replace(run, state=RunState.FAILED, outcome=outcome, message=event.message)
    if run.outcome is not None:
        return run
    if isinstance(event, RunAccepted):
        return replace(run, state=RunState.RUNNING, message="preparing") if run.state is RunState.ASSIGNED else run
    if isinstance(event, RunRunning):
        return replace(run, state=RunState.RUNNING, message="", manifest=event.manifest or run.manifest)
    if isinstance(event, RunProgress):
        return replace(run, step=max(run.step, event.step), records=max(run.records, event.records))
    if isinstance(event, RunEnded):
        if event.outcome.end == "lost":
            return _lost(run, event.outcome.message or "its agent lost the run")
        manifest = event.manifest or run.manifest
        return replace(run, state=RunState.RUNNING, outcome=event.outcome, manifest=manifest, message="checking")
    message = event.message or "its machine refused the run"
    return replace(run, state=RunState.FAILED, outcome=RunOutcome(end="refused", message=message), message=message)


def _lost(run: RunRecord, why: str) -> RunRecord:
    if run.attempt >= ATTEMPTS_MAX:
        message = f"the run failed after {ATTEMPTS_MAX} lost attempts: {why}"
        return replace(run, state=RunState.FAILED, outcome=RunOutcome(end="lost", message=message), message=message)
    return replace(
        run, state=RunState.WAITING, boot_id="", step=0, records=0, manifest={}, message=f"waiting to run again: {why}",
        holder="", secret_digest="",
    )  # fmt: skip


def _joined(audit: Audit, event: RunJoined) -> Audit:
    run = audit.runs.get(event.run_id)
    if run is None or not audit.request.join_only:
        return audit
    if run.boot_id == event.boot_id and run.holder == event.holder and is_active(run):
        # The reply was lost and the holder requests the run again. Data that it sent with the earlier secret stays.
        return _with(audit, {event.run_id: replace(run, secret_digest=event.secret_digest)})
    if run.state is not RunState.WAITING:
        if not event.again or not is_active(run) or not (event.manages or run.holder == event.holder):
            return audit
        run = _lost(run, "another user took it over")
    if run.state is RunState.WAITING:
        run = replace(
            run, state=RunState.RUNNING, attempt=run.attempt + 1, boot_id=event.boot_id, message="joined",
            holder=event.holder, secret_digest=event.secret_digest,
        )  # fmt: skip
    return _with(audit, {event.run_id: run})


def _absent(run: RunRecord, event: MachineAbsent) -> RunRecord:
    if run.state is not RunState.WAITING and not is_active(run):
        return run
    name = event.machine
    message = (
        f"the agent of machine {name} did not connect for {event.waited_s:.0f} s; start it: "
        f"detctl-agent --name {name} --coordinator … --catalog …"
    )
    return replace(run, state=RunState.FAILED, outcome=RunOutcome(end="lost", message=message), message=message)


# -- one machine --------------------------------------------------------------------------------------------------


def _agent_seen(audit: Audit, event: AgentSeen) -> Audit:
    def update(run: RunRecord) -> RunRecord:
        if not is_active(run):
            return run
        has_it = (run.spec.run_id, run.attempt) in event.working
        if run.boot_id != event.boot_id and not has_it:
            return _lost(run, "its agent restarted")
        if run.boot_id != event.boot_id:
            run = replace(run, boot_id=event.boot_id)
        if has_it and run.state is RunState.ASSIGNED:
            run = replace(run, state=RunState.RUNNING, message="preparing")
        return run

    audit = _on_machine(audit, event.machine, update)
    here = [run for run in audit.runs.values() if run.spec.arm.machine == event.machine]
    free = event.parallel_runs - event.busy - sum(is_active(run) for run in here)
    waiting = [run for run in here if run.state is RunState.WAITING]
    assigned = {}
    for run in waiting[: max(0, free)]:
        has_it = (run.spec.run_id, run.attempt + 1) in event.working
        state = RunState.RUNNING if has_it else RunState.ASSIGNED
        assigned[run.spec.run_id] = replace(
            run, state=state, attempt=run.attempt + 1, boot_id=event.boot_id, message="preparing" if has_it else ""
        )
    return _with(audit, assigned)


# -- the whole audit ----------------------------------------------------------------------------------------------


def _run_more(audit: Audit, event: Judged) -> Audit:
    """Returns the audit in RUNNING with more runs, which zoom or test causes. It keeps the current verdict."""
    first = event.more[0]
    runs = {spec.run_id: RunRecord(spec=spec, created_unix_s=audit.created_unix_s) for spec in event.more}
    message = f"testing causes with {len(runs)} runs"
    if first.purpose == "zoom":
        message = f"zooming into step {first.step_from}: {len(runs)} runs at level {first.level}"
    return replace(
        audit,
        runs={**audit.runs, **runs},
        state=AuditState.RUNNING,
        verdict_json=event.verdict_json,
        message=message,
        trying=event.why,
    )


def _explain(audit: Audit, event: Explain) -> Audit:
    """Returns the audit with a request for experiments. If it has a verdict, comparing starts again, and unfinished experiments too."""
    request = replace(
        audit.request,
        explain=True,
        budget_runs=event.budget_runs or audit.request.budget_runs,
        self_test=event.self_test or audit.request.self_test,
    )
    if audit.state not in (AuditState.DONE, AuditState.CANCELLED) or not audit.verdict_json:
        return audit if audit.request == request else replace(audit, request=request)
    again = {
        run_id: replace(
            run, state=RunState.WAITING, outcome=None, boot_id="", step=0, records=0, message="waiting to run again"
        )
        for run_id, run in audit.runs.items()
        if run.spec.purpose and run.state is not RunState.SEALED
    }
    state = AuditState.RUNNING if again else AuditState.COMPARING
    return replace(audit, request=request, runs={**audit.runs, **again}, state=state, message="testing causes")


def _stopped(audit: Audit) -> Audit:
    """Returns the audit with all other runs cancelled, if it stops on failure and a run has just failed."""
    if not audit.request.stop_on_failure or audit.stopped_by:
        return audit
    failed = next((run for run in audit.runs_for("") if has_failed(run)), None)
    if failed is None:
        return audit
    reason = f"{failed.spec.label} failed"
    ended = {
        run.spec.run_id: replace(
            run, state=RunState.CANCELLED, outcome=RunOutcome(end="cancelled", message=reason), message=reason
        )
        for run in audit.runs.values()
        if not run.state.over and run.outcome is None
    }
    return replace(_with(audit, ended), stopped_by=failed.spec.run_id)


def has_failed(run: RunRecord) -> bool:
    """Returns whether the training itself failed or was refused. A run that its machine lost did not fail."""
    outcome = run.outcome
    return outcome is not None and (outcome.failure is not None or outcome.end in FAILING_ENDS)


def _cancel(audit: Audit, event: Cancel) -> Audit:
    """Returns the audit without its unfinished runs. If only experiments were left, its verdict stands."""
    if audit.state not in (AuditState.RUNNING, AuditState.COMPARING):
        return audit
    ended = {
        run.spec.run_id: replace(
            run,
            state=RunState.CANCELLED,
            outcome=run.outcome or RunOutcome(end="cancelled", message=event.reason),
            message=event.reason,
        )
        for run in audit.runs.values()
        if not run.state.over
    }
    cancelled = _with(audit, ended)
    if (
        audit.verdict_json
        and audit.request.explain
        and not any(audit.runs[run_id].spec.purpose != "experiment" for run_id in ended)
    ):
        return replace(
            cancelled, state=AuditState.DONE, message=f"the verdict stands, and its experiments were {event.reason}"
        )
    return replace(cancelled, state=AuditState.CANCELLED, message=event.reason)


def _on_machine(audit: Audit, machine: str, change: Callable[[RunRecord], RunRecord]) -> Audit:
    return _with(audit, {i: change(run) for i, run in audit.runs.items() if run.spec.arm.machine == machine})


def _with(audit: Audit, changes: Mapping[str, RunRecord]) -> Audit:
    """Returns the audit with some runs replaced in place, and a message about the last change of a state; the same object if no run
    differs."""
    changed = [run for run_id, run in changes.items() if run != audit.runs[run_id]]
    if not changed:
        return audit
    new_states: Sequence[RunRecord] = [run for run in changed if run.state is not audit.runs[run.spec.run_id].state]
    message = _describe(new_states[-1]) if new_states else audit.message
    return replace(audit, runs={**audit.runs, **{run.spec.run_id: run for run in changed}}, message=message)


def _describe(run: RunRecord) -> str:
    detail = f": {run.message}" if run.message else ""
    again = f" (attempt {run.attempt})" if run.attempt > 1 else ""
    return f"{run.spec.label} {run.state.value}{again}{detail}"


def _settled(audit: Audit) -> Audit:
    """Returns the audit in its next state if all runs are over: an import is done, any other audit is compared."""
    if not audit.runs or not all(run.state.over for run in audit.runs.values()):
        return audit
    if is_import(audit):
        return replace(audit, state=AuditState.DONE, message="imported")
    return replace(audit, state=AuditState.COMPARING, message="comparing")
