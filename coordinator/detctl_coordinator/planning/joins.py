"""User-launched runs: an audit whose runs wait for `detctl record --join`, in somebody's own allocation; no agent, no catalog. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from detctl_proto.names import NAME_RULE, is_name

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.identity import Caller
from detctl_coordinator.domain.machine import Machine, Recipe
from detctl_coordinator.domain.run import RunRecord, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.plan import near
from detctl_coordinator.planning.run_holders import may_join, may_manage


def without_agents(request: AuditRequest) -> AuditRequest:
    """What of a request can be kept where nobody can be told to run more. Raises RefusedCallError."""
    for asked, option in ((request.explain, "--explain"), (request.self_test, "--self-test")):
        if asked:
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"{option} needs agents that run experiments: it does not go with --join-only"
            )
    return replace(request, zoom=False)


def expected_machines(request: AuditRequest) -> dict[str, Machine]:
    """Machines as the audit names them: nothing is known of them yet. Raises RefusedCallError for names that cannot be used."""
    for what, names in (
        ("machine", request.machines),
        ("environment", request.environments),
        ("recipe", [request.recipe]),
    ):
        for name in names:
            if not is_name(name):
                raise RefusedCallError(
                    Code.INVALID_ARGUMENT,
                    f"{what} {limits.clean(name, 80)!r}: a name is {NAME_RULE}",
                )
    recipe = Recipe(request.recipe)
    environments: Mapping[str, Mapping[str, str]] = {name: {} for name in request.environments}
    return {
        name: Machine(name, recipes={request.recipe: recipe}, environments=environments) for name in request.machines
    }


def run_to_join(
    audit: Audit, machine: str, environment: str, boot_id: str, caller: Caller, *, again: bool
) -> RunRecord:
    """The run that this caller has under the name `boot_id`, or may have. Raises RefusedCallError.

    again: also one that somebody has, where the caller had it or may manage the audit.
    """
    if not audit.request.join_only:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"audit {audit.audit_id} is run by agents: nobody joins it")
    if not may_join(audit, caller):
        owner = audit.owner or audit.request.requested_by or "nobody"
        raise RefusedCallError(
            Code.PERMISSION_DENIED,
            f"audit {audit.audit_id} was started by {owner}, and its runs are not for {caller.name}: "
            f"detctl audit --join-only --joiners {caller.name} lets {caller.name} train some",
        )
    if audit.state is not AuditState.RUNNING:
        raise RefusedCallError(
            Code.FAILED_PRECONDITION, f"audit {audit.audit_id} is {audit.state.value}: no run waits for anybody"
        )
    if machine not in audit.request.machines:
        known = near(machine, audit.request.machines)
        raise RefusedCallError(
            Code.NOT_FOUND,
            f"audit {audit.audit_id} has no machine {limits.clean(machine, 80)!r}{known}; --machine names it",
        )
    here = [run for run in audit.runs.values() if run.spec.arm.machine == machine]
    environments = audit.request.environments
    if environment and environment not in environments:
        known = near(environment, environments)
        raise RefusedCallError(
            Code.NOT_FOUND, f"audit {audit.audit_id} has no environment {limits.clean(environment, 80)!r}{known}"
        )
    if not environment and len(environments) > 1:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT, f"which environment is this? --environment {' or '.join(environments)}"
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
            f"the runs of {machine} in audit {audit.audit_id} belong to {who}: they, whoever started the audit "
            "and administrators may take them over",
        )
    hint = "; one whose record was killed is taken over with --again" if not again else ""
    raise RefusedCallError(
        Code.FAILED_PRECONDITION, f"every run of {machine} in audit {audit.audit_id} is taken or over{hint}"
    )


def still_waiting(audit: Audit, machine: str) -> int:
    """Runs of this machine that nobody has joined."""
    return sum(run.spec.arm.machine == machine and run.state is RunState.WAITING for run in audit.runs.values())
