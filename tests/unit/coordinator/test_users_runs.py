"""Runs that users send under a machine's name: they are none of that machine's, wherever machines are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.machine import Machine, Working
from detctl_coordinator.domain.run import Arm, RunSpec, RunState
from detctl_coordinator.errors.codes import RefusedCallError
from detctl_coordinator.planning.imports import plan_import
from detctl_coordinator.planning.selection import choose_runs
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.scheduling.progress import run_with_progress, with_progress
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import machine_to_json
from detctl_coordinator.storage.sqlite.store import SqliteStore

MACHINES = ("gpu1", "gpu2")


def an_audit(audit_id: str, created: float = 0.0, *, join_only: bool = False) -> Audit:
    specs = [RunSpec(f"{audit_id}.{n:03d}", audit_id, "toy", Arm(name), 0) for n, name in enumerate(MACHINES)]
    return lifecycle.plan(audit_id, AuditRequest("toy", MACHINES, join_only=join_only), specs, created)


def finished(audit: Audit) -> Audit:
    runs = {run_id: replace(run, state=RunState.SEALED) for run_id, run in audit.runs.items()}
    return replace(audit, runs=runs, state=AuditState.DONE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    yield store
    store.close()


async def test_an_import_takes_no_slot_of_the_machine_on_its_label(store: SqliteStore) -> None:
    engine = Engine(AsyncStore(store), lease_s=60.0, machine_timeout_s=60.0, monotonic=lambda: 0.0)
    store.put_audit(plan_import("gpu1/default/base/twin-0", {}, 1e12, "mallory", "digest"))
    store.put_audit(an_audit("a", 2e12))
    for beat in ("1", "2"):
        store.put_machine("gpu1", machine_to_json(Machine("gpu1", boot_id="boot", beat=beat, connected=True)))
        await engine.step()
    run = store.run("a.000")
    assert run is not None and run.state is RunState.ASSIGNED


def test_progress_is_that_of_the_runs_own_machine(store: SqliteStore) -> None:
    audit = an_audit("a")
    running = {i: replace(r, state=RunState.RUNNING, attempt=1) for i, r in audit.runs.items()}
    running["a.001"] = replace(running["a.001"], holder="sue")
    audit = replace(audit, runs=running)
    working = tuple(Working(run_id, 1, 7, 70) for run_id in running)
    machines = {name: Machine(name, working=working) for name in MACHINES}
    others = {"gpu2": machines["gpu2"], "gpu9": Machine("gpu9", working=working)}
    assert with_progress(audit, others) == audit
    assert [run.step for run in with_progress(audit, machines).runs.values()] == [7, 0]
    assert [run_with_progress(run, machines).step for run in running.values()] == [7, 0]


def test_the_latest_runs_of_machines_are_those_that_their_agents_trained(store: SqliteStore) -> None:
    for name in MACHINES:
        store.put_machine(name, machine_to_json(Machine(name)))
    store.put_audit(finished(an_audit("joined", 2000.0, join_only=True)))
    with pytest.raises(RefusedCallError, match="share no finished runs"):
        choose_runs(store, MACHINES, "", "", ())
    store.put_audit(finished(an_audit("trained", 1000.0)))
    audit, runs = choose_runs(store, MACHINES, "toy", "", ())
    assert audit is not None and audit.audit_id == "trained" and len(runs) == 2
    audit, _ = choose_runs(store, MACHINES, "", "joined", ())
    assert audit is not None and audit.audit_id == "joined", "named, it is compared"
