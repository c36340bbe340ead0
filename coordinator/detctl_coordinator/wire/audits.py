"""Converts requests of the CLI to domain values, and plans, lists and progress to messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.limits import TWINS_DEFAULT
from detctl_proto.outside_json import dump
from detctl_proto.security.redaction import redact_text
from detctl_proto.syntax.windows import DEFAULT_STEPS
from detctl_proto.v1 import agents_pb2, records_pb2
from detctl_proto.v1 import audits_pb2 as pb

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.machine import Machine, Working
from detctl_coordinator.domain.run import Purpose, RunRecord, RunSpec
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.storage.store import Unreadable
from detctl_coordinator.wire.checks import at_most, identifier
from detctl_coordinator.wire.verdict_summary import summary_of

UNREADABLE = "unreadable"
_PURPOSES: dict[Purpose, pb.RunPurpose] = {
    "": pb.RUN_PURPOSE_TWIN,
    "zoom": pb.RUN_PURPOSE_ZOOM,
    "experiment": pb.RUN_PURPOSE_EXPERIMENT,
}


def request_from_proto(request: pb.AuditRequest) -> AuditRequest:
    """Returns the request with defaults for missing fields. Raises RefusedCallError for a list that is too long, or if --set does not have
    exactly one value."""
    for what, items in (("machines", request.machines), ("environments", request.environments)):
        at_most(len(items), limits.MACHINES_MAX, what)
    at_most(len(request.joiners), limits.JOINERS_MAX, "joiners")
    at_most(len(request.set) + len(request.vary), limits.PARAMETERS_MAX, "names in --set and --vary")
    for variation in request.set:
        if len(variation.values) != 1:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"--set {limits.clean(variation.name)} needs exactly one value"
            )
    step_to: int | None = request.step_to or None
    if step_to is None and not request.to_end:
        step_to = request.step_from + DEFAULT_STEPS
    return AuditRequest(
        recipe=request.recipe,
        machines=tuple(request.machines),
        environments=tuple(request.environments) or ("default",),
        twins=request.twins or TWINS_DEFAULT,
        step_from=request.step_from,
        step_to=step_to,
        to_end=request.to_end,
        level=request.level or DEFAULT_LEVEL,
        set=tuple((variation.name, variation.values[0]) for variation in request.set),
        vary=tuple((variation.name, tuple(variation.values)) for variation in request.vary),
        requested_by=limits.clean(request.requested_by, 128),
        budget_share=request.budget_share,
        zoom=not request.no_zoom,
        explain=request.explain,
        budget_runs=request.budget_runs,
        self_test=request.self_test,
        join_only=request.join_only,
        strict=request.strict,
        joiners=tuple(identifier(name, "joiner") for name in request.joiners),
        stop_on_failure=request.stop_on_failure,
    )


def plan_to_proto(audit_id: str, specs: Iterable[RunSpec], warnings: Iterable[str]) -> pb.AuditPlan:
    """Returns a plan. audit_id: "" for a plan that was not started."""
    runs = [pb.PlannedRun(run_id=spec.run_id, label=spec.label, machine=spec.arm.machine) for spec in specs]
    return pb.AuditPlan(audit_id=audit_id, runs=runs, warnings=list(warnings))


def join_to_proto(run: RunRecord, left: int, secret: str) -> pb.JoinReply:
    """Returns what a joiner must train. left: how many runs of its machine still wait; secret: the run's secret, for its holder only."""
    spec = run.spec
    return pb.JoinReply(
        run_id=spec.run_id,
        attempt=run.attempt,
        label=spec.label,
        level=spec.level,
        step_from=spec.step_from,
        step_to=spec.step_to or 0,
        budget_share=spec.budget_share,
        variables=spec.variables,
        interventions=spec.interventions,
        left=left,
        secret=secret,
    )


def status_to_proto(run: RunRecord) -> pb.RunStatus:
    """Returns the state of a run."""
    return pb.RunStatus(
        run_id=run.spec.run_id,
        label=run.spec.label,
        machine=run.spec.arm.machine,
        state=run.state.value,
        step=run.step,
        records=run.records,
        message=limits.clean(redact_text(run.message)),
        attempt=run.attempt,
    )


def progress_to_proto(audit: Audit, fingerprints_per_s: float, working: Mapping[str, Working]) -> pb.AuditProgress:
    """Returns the current progress. working: the latest heartbeats by run id. Only the last message of an audit has the verdict."""
    runs = []
    for run in audit.runs.values():
        status = status_to_proto(run)
        status.purpose = _PURPOSES[run.spec.purpose]
        status.step_to = _last_step_of(run, audit) or 0
        if (seen := working.get(run.spec.run_id)) is not None:
            status.activity = seen.activity  # type: ignore[assignment]
            status.steps_done, status.elapsed_s = seen.steps_done, seen.elapsed_s
            status.last_output = seen.last_output
            status.beside = seen.beside
            if seen.side_by_side is not None:
                status.side_by_side.CopyFrom(agents_pb2.SideBySide(**asdict(seen.side_by_side)))
        elif run.outcome is not None:
            status.beside = run.outcome.beside
            if run.outcome.timings is not None:
                status.timings.CopyFrom(agents_pb2.RunTimings(**asdict(run.outcome.timings)))
        runs.append(status)
    experiments = audit.runs_for("experiment")
    return pb.AuditProgress(
        audit_id=audit.audit_id,
        state=audit.state.value,
        runs=runs,
        fingerprints_per_s=fingerprints_per_s,
        message=limits.clean(redact_text(audit.message)),
        trying=limits.clean(audit.trying, 400),
        experiments_done=sum(run.state.over for run in experiments),
        experiments_known=len(experiments),
        # During zoom runs and experiments the audit has a preliminary verdict.
        verdict_json=audit.verdict_json if audit.state in (AuditState.DONE, AuditState.CANCELLED) else "",
    )


def _last_step_of(run: RunRecord, audit: Audit) -> int | None:
    """Returns the step before which the run ends; None: it trains to its end. Live comparison may end twins early."""
    if audit.stop_after_step is not None and not run.spec.purpose:
        early = audit.stop_after_step + 1
        return early if run.spec.step_to is None else min(early, run.spec.step_to)
    return run.spec.step_to


def run_info_to_proto(run: RunRecord) -> pb.RunInfo:
    """Returns a row of `detctl runs`."""
    outcome = run.outcome
    return pb.RunInfo(
        status=status_to_proto(run),
        audit_id=run.spec.audit_id,
        recipe=run.spec.recipe,
        created_unix_s=run.created_unix_s,
        ranks=outcome.ranks if outcome else 0,
        exit_code=outcome.exit_code if outcome else 0,
        end=outcome.end if outcome else "",
    )


def audit_info_to_proto(audit: Audit) -> pb.AuditInfo:
    """Returns a row of `detctl audits`."""
    verdict = summary_of(audit)
    return pb.AuditInfo(
        audit_id=audit.audit_id,
        recipe=audit.request.recipe,
        state=audit.state.value,
        outcome=verdict.outcome or "",
        origin=verdict.origin or "",
        causes=[cause.cause for cause in verdict.causes],
        created_unix_s=audit.created_unix_s,
        machines=list(audit.request.machines) or sorted({run.spec.arm.machine for run in audit.runs.values()}),
    )


def unreadable_run(row: Unreadable) -> pb.RunInfo:
    """Returns the row of a run that cannot be read."""
    return pb.RunInfo(
        status=pb.RunStatus(run_id=row.name, state=UNREADABLE, message=limits.clean(row.text)), end=UNREADABLE
    )


def unreadable_audit(row: Unreadable) -> pb.AuditInfo:
    """Returns the row of an audit that cannot be read, with the reason in `origin`, because the message has no field for it."""
    return pb.AuditInfo(audit_id=row.name, state=UNREADABLE, outcome=UNREADABLE, origin=limits.clean(row.text))


def unreadable_machine(row: Unreadable) -> pb.MachineInfo:
    """Returns the row of a machine that cannot be read, with the reason in `version`."""
    return pb.MachineInfo(name=row.name, manifest_json="{}", version=limits.clean(row.text))


def machine_to_proto(machine: Machine, connected: bool) -> pb.MachineInfo:
    """Returns a row of `detctl machines`."""
    return pb.MachineInfo(
        name=machine.name,
        connected=connected,
        last_seen_unix_s=machine.last_seen_unix_s,
        recipes=sorted(machine.recipes),
        environments=sorted(machine.environments),
        manifest_json=dump(machine.manifest, f"the manifest of {machine.name}"),
        version=machine.version,
        notes=[
            records_pb2.OfferNote(recipe=note.recipe, unusable=note.unusable, reason=note.reason)
            for note in machine.notes
        ],
    )
