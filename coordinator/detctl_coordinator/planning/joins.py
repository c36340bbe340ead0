"""Plans audits whose runs users start themselves with `detctl record --join`, without agents and catalogs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.identity import Caller
from detctl_coordinator.domain.machine import Machine, Recipe
from detctl_coordinator.domain.run import RunRecord, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.plan import did_you_mean
from detctl_coordinator.planning.run_holders import may_join, may_manage
from detctl_coordinator.wire.checks import identifier


def without_agents(request: AuditRequest) -> AuditRequest:
    """Returns the request without what only agents can run. Raises RefusedCallError for --explain and --self-test."""
    for requested, option in ((request.explain, "--explain"), (request.self_test, "--self-test")):
        if requested:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT,
                f"{option} cannot be combined with --join-only, because it needs agents that run experiments",
            )
    return replace(request, zoom=False)


def expected_machines(request: AuditRequest) -> dict[str, Machine]:
    """Returns the machines that the audit names; nothing else is known about them yet. Raises RefusedCallError for an invalid name."""
    for what, names in (
        ("machine", request.machines),
        ("environment", request.environments),
        ("recipe", [request.recipe]),
    ):
        for name in names:
            identifier(name, what)
    recipe = Recipe(request.recipe)
    environments: Mapping[str, Mapping[str, str]] = {name: {} for name in request.environments}
    return {
        name: Machine(name, recipes={request.recipe: recipe}, environments=environments) for name in request.machines
    }


def run_to_join(
    audit: Audit, machine: str, environment: str, boot_id: str, caller: Caller, *, again: bool
) -> RunRecord:
    """Returns the run that this caller holds under the name `boot_id`, else one that it may take. Raises RefusedCallError.

    again: the caller may also take over a run that it holds, or any run if it may manage the audit.
    """
    if not audit.request.join_only:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"audit {audit.audit_id} is run by agents: start an audit with --join-only to join its runs",
        )
    if not may_join(audit, caller):
        owner = audit.owner or audit.request.requested_by or "nobody"
        raise RefusedCallError(
            Code.PERMISSION_DENIED,
            f"audit {audit.audit_id} was started by {owner}, and {caller.name} may not join its runs: "
            f"start it with detctl audit --join-only --joiners {caller.name} to allow it",
        )
    if audit.state is not AuditState.RUNNING:
        raise RefusedCallError(
            Code.FAILED_PRECONDITION, f"audit {audit.audit_id} is {audit.state.value}: none of its runs can be joined"
        )
    if machine not in audit.request.machines:
        known = did_you_mean(machine, audit.request.machines)
        raise RefusedCallError(
            Code.NOT_FOUND,
            f"audit {audit.audit_id} has no machine {limits.clean(machine, 80)!r}{known}; name it with --machine",
        )
    here = [run for run in audit.runs.values() if run.spec.arm.machine == machine]
    environments = audit.request.environments
    if environment and environment not in environments:
        known = did_you_mean(environment, environments)
        raise RefusedCallError(
            Code.NOT_FOUND, f"audit {audit.audit_id} has no environment {limits.clean(environment, 80)!r}{known}"
        )
    if not environment and len(environments) > 1:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"audit {audit.audit_id} has several environments: add --environment {' or '.join(environments)}",
        )
    here = [run for run in here if not environment or run.spec.arm.environment == environment]
    held = [run for run in here if run.state is RunState.RUNNING and run.outcome is None]
    mine = [run for run in held if run.boot_id == boot_id and run.holder == caller.name]
    waiting = [run for run in here if run.state is RunState.WAITING]
    free = [run for run in held if again and (run.holder == caller.name or may_manage(audit, caller))]
    for run in (*mine, *waiting, *free):
        return run
    if again and held:
        who = ", ".join(sorted({run.holder or "somebody" for run in held}))
        raise RefusedCallError(
            Code.PERMISSION_DENIED,
            f"the runs of {machine} in audit {audit.audit_id} belong to {who}: only they, the user who started the audit "
            "and administrators may take them over",
        )
    hint = "; add --again to take over a run whose process was killed" if not again else ""
    raise RefusedCallError(
        Code.FAILED_PRECONDITION, f"every run of {machine} in audit {audit.audit_id} is taken or has ended{hint}"
    )


def still_waiting(audit: Audit, machine: str) -> int:
    """Returns how many runs of this machine nobody has joined yet."""
    return sum(run.spec.arm.machine == machine and run.state is RunState.WAITING for run in audit.runs.values())
