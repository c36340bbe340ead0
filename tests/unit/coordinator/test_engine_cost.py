"""What a look at the store costs, in operations: with twice the audits twice as much, and busy runs as they ever were counted."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.lifecycle_events import Assign
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.domain.run import Arm, RunOutcome, RunSpec, RunState
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import machine_to_json
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import Rows
from hypothesis import given, settings
from hypothesis import strategies as st

MACHINES = ("gpu1", "gpu2", "gpu3")
READS = [0]


class CountedAudit(Audit):
    """Counts how often anything of it is read."""

    def __getattribute__(self, name: str) -> object:
        READS[0] += 1
        return super().__getattribute__(name)


def plan(audit_id: str, **request: object) -> Audit:
    specs = [
        RunSpec(f"{audit_id}.{number:03d}", audit_id, "mine", Arm(machine), twin)
        for number, (machine, twin) in enumerate((machine, twin) for machine in MACHINES[:2] for twin in range(2))
    ]
    return lifecycle.plan(audit_id, AuditRequest("mine", MACHINES[:2], **request), specs, 1.0)


def engine_on(store: SqliteStore) -> Engine:
    return Engine(AsyncStore(store), lease_s=60.0, machine_timeout_s=60.0, monotonic=lambda: 0.0)


async def reads_of_a_look(folder, count: int, **request: object) -> int:
    """How often audits are read in one look, when `count` of them are open."""
    folder.mkdir()
    store = SqliteStore(folder / "store.db")
    for number in range(count):
        store.put_audit(plan(f"a{number:03d}", **request))
    engine = engine_on(store)
    found = await engine.store.active_audits()

    async def active_audits() -> Rows[Audit]:
        return Rows(CountedAudit(**vars(audit)) for audit in found)

    engine.store.active_audits = active_audits
    READS[0] = 0
    await engine.step()
    store.close()
    return READS[0]


async def test_join_only_audits(tmp_path):
    few, many = [await reads_of_a_look(tmp_path / str(count), count, join_only=True) for count in (20, 80)]
    assert many <= 4.5 * few


async def test_audits_of_agents(tmp_path):
    few, many = [await reads_of_a_look(tmp_path / str(count), count) for count in (20, 80)]
    assert many <= 4.5 * few


STATES = st.sampled_from([*RunState, "ended"])
AUDITS = st.lists(st.lists(st.tuples(st.sampled_from(MACHINES), STATES), max_size=6), min_size=1, max_size=6)


def in_states(audit_id: str, runs: list[tuple[str, object]]) -> Audit:
    """An audit whose runs are as told; `ended`: RUNNING, with an outcome that nobody has checked."""
    specs = [RunSpec(f"{audit_id}.{i:03d}", audit_id, "mine", Arm(machine), i) for i, (machine, _) in enumerate(runs)]
    audit = lifecycle.plan(audit_id, AuditRequest("mine", MACHINES), specs, 1.0)
    made = {
        run_id: replace(run, state=RunState.RUNNING, attempt=1, outcome=RunOutcome("exit"))
        if state == "ended"
        else replace(run, state=state, attempt=1)
        for (run_id, run), (_, state) in zip(audit.runs.items(), runs, strict=True)
    }
    return replace(audit, runs=made)


def counted_one_by_one(name: str, audit: Audit, advanced: list[Audit], audits: list[Audit]) -> int:
    """The formula that the engine had: audits that advanced already, and the others as they were read."""
    others = [*advanced, *(a for a in audits if a.audit_id not in {b.audit_id for b in [*advanced, audit]})]
    return sum(
        run.state in (RunState.ASSIGNED, RunState.RUNNING) and run.outcome is None
        for other in others
        for run in other.runs.values()
        if run.spec.arm.machine == name
    )


@settings(max_examples=200, deadline=None)
@given(AUDITS, st.data())
def test_busy_runs_are_counted_as_one_by_one(given_audits, data):
    from detctl_coordinator.scheduling.busy_runs import BusyRuns

    audits = [in_states(f"a{number}", runs) for number, runs in enumerate(given_audits)]
    busy, advanced = BusyRuns(audits), []
    for audit in audits:
        elsewhere = busy.elsewhere(audit)
        assert elsewhere == {name: counted_one_by_one(name, audit, advanced, audits) for name in MACHINES}
        states = data.draw(st.lists(STATES, min_size=len(audit.runs), max_size=len(audit.runs)))
        new = in_states(
            audit.audit_id,
            [(run.spec.arm.machine, state) for run, state in zip(audit.runs.values(), states, strict=True)],
        )
        new = data.draw(st.sampled_from([audit, new]))
        busy.replace(audit, new)
        advanced.append(new)


async def test_a_machine_is_given_no_more_than_it_takes(tmp_path):
    """Three audits want a machine that runs two at a time: over all of them two runs are assigned, those of the oldest."""
    store = SqliteStore(tmp_path / "store.db")
    for number in range(3):
        store.put_audit(replace(plan(f"a{number}"), created_unix_s=float(number)))
    engine = engine_on(store)
    for beat in ("1", "2"):
        machine = Machine("gpu1", boot_id="boot", beat=beat, parallel_runs=2)
        store.put_machine("gpu1", machine_to_json(machine))
        await engine.step()
    await engine.step()
    assigned = [
        instruction.spec.run_id
        for audit in store.active_audits()
        for _, instruction in lifecycle.instructions(audit)
        if isinstance(instruction, Assign)
    ]
    assert assigned == ["a0.000", "a0.001"]
    store.close()
