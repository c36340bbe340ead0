"""Chooses the runs that `detctl compare` compares. Raises RefusedCallError, with the command to run, if it finds none."""

from __future__ import annotations

from collections.abc import Sequence

from detctl_proto.syntax.names import is_name

from detctl_coordinator import limits
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.run import RunRecord, RunState
from detctl_coordinator.errors.codes import Code, RefusedCallError
from detctl_coordinator.planning.imports import is_import_id
from detctl_coordinator.planning.plan import did_you_mean
from detctl_coordinator.storage.store import Store

AUDITS_SEARCHED = 1000


def choose_runs(
    store: Store, machines: Sequence[str], recipe: str, audit_id: str, run_ids: Sequence[str]
) -> tuple[Audit | None, list[RunRecord]]:
    """Returns (the audit of the runs if they all belong to one, the runs)."""
    if run_ids:
        return _named(store, run_ids)
    if not machines:
        raise RefusedCallError(
            Code.INVALID_ARGUMENT, "the request names nothing to compare: name --machines A,B, two runs, or --audit ID"
        )
    known = store.machines()
    for name in machines:
        if name not in known:
            raise RefusedCallError(
                Code.NOT_FOUND, f"no machine {limits.clean(name)!r} is known here{did_you_mean(name, known)}"
            )
    if len(set(machines)) < 2:
        raise RefusedCallError(Code.INVALID_ARGUMENT, "--machines needs two different machines")
    return _shared(store, list(machines), recipe, audit_id)


def _named(store: Store, run_ids: Sequence[str]) -> tuple[Audit | None, list[RunRecord]]:
    runs = []
    for run_id in run_ids:
        run = store.run(run_id) if is_name(run_id) else None
        if run is None:
            raise RefusedCallError(Code.NOT_FOUND, f"no run has the id {limits.clean(run_id, 80)!r}; see detctl runs")
        if not run.state.over:
            raise RefusedCallError(
                Code.FAILED_PRECONDITION,
                f"run {run_id} is still {run.state.value}; wait for its audit {run.spec.audit_id}",
            )
        runs.append(run)
    if len({run.spec.run_id for run in runs}) < 2:
        raise RefusedCallError(Code.INVALID_ARGUMENT, "a comparison needs two different runs")
    audits = {run.spec.audit_id for run in runs}
    return (store.audit(audits.pop()) if len(audits) == 1 else None), runs


def _shared(store: Store, machines: list[str], recipe: str, audit_id: str) -> tuple[Audit | None, list[RunRecord]]:
    """Returns the newest audit that has finished runs of the same configurations on all these machines."""
    for audit in store.audits(AUDITS_SEARCHED):
        if is_import_id(audit.audit_id) or audit.state is not AuditState.DONE:
            continue
        if audit.request.join_only and not audit_id:
            continue  # users chose the names of its machines
        if (recipe and audit.request.recipe != recipe) or (audit_id and audit.audit_id != audit_id):
            continue
        finished = [
            run for run in audit.runs_for("") if run.state is RunState.SEALED and run.spec.arm.machine in machines
        ]
        machines_by_configuration: dict[tuple[object, ...], set[str]] = {}
        for run in finished:
            machines_by_configuration.setdefault(_configuration_key(run), set()).add(run.spec.arm.machine)
        shared = {key for key, having in machines_by_configuration.items() if having == set(machines)}
        if shared:
            return audit, [run for run in finished if _configuration_key(run) in shared]
    names = ",".join(machines)
    what = recipe or "RECIPE"
    of = f" of {recipe}" if recipe else ""
    raise RefusedCallError(
        Code.FAILED_PRECONDITION,
        f"machines {' and '.join(machines)} share no finished runs{of}; create some: detctl audit {what} --machines {names}",
    )


def _configuration_key(run: RunRecord) -> tuple[object, ...]:
    """Returns a key that is equal for runs of the same configuration on different machines of an audit."""
    return run.spec.arm.environment, run.spec.arm.variation
