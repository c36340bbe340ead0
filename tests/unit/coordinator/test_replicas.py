"""Engines of several replicas on one store, stepped by hand under a clock of the test's own."""

from __future__ import annotations

import pytest
from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.machine import Machine
from detctl_coordinator.domain.run import Arm, RunRecord, RunSpec, RunState
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import machine_to_json
from detctl_coordinator.storage.sqlite.store import SqliteStore

LEASE_S = 3.0


class Replicas:
    """`store` holds audit `a` with one run on gpu1. Nothing happens between steps."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.now = 0.0
        spec = RunSpec("a.000", "a", "digits", Arm("gpu1"), 0)
        store.put_audit(lifecycle.plan("a", AuditRequest("digits", ("gpu1",)), [spec], 0.0))

    def engine(self) -> Engine:
        return Engine(AsyncStore(self.store), lease_s=LEASE_S, machine_timeout_s=60.0, monotonic=lambda: self.now)

    def beat(self, beat: str) -> None:
        """What the replica that holds the agent's stream writes at a heartbeat."""
        self.store.put_machine("gpu1", machine_to_json(Machine("gpu1", boot_id="boot", beat=beat)))

    async def step(self, *engines: Engine) -> RunRecord:
        """One second, a look of each; the run as it is then."""
        self.now += 1.0
        for engine in engines:
            await engine.step()
        return self.run

    @property
    def run(self) -> RunRecord:
        found = self.store.run("a.000")
        assert found is not None
        return found


@pytest.fixture
def replicas(tmp_path):
    store = SqliteStore(tmp_path / "store.db")
    yield Replicas(store)
    store.close()


async def test_a_replica_that_starts_believes_no_old_document(replicas):
    """The replica with the agent's stream dies and is started again while another knows that the agent is silent: the two must not take
    the run from each other until its attempts are used up."""
    watching = replicas.engine()
    replicas.beat("1")
    await replicas.step(watching)
    replicas.beat("2")
    assert (await replicas.step(watching)).attempt == 1
    for _ in range(4):  # the replica that wrote the beats is gone
        await replicas.step(watching)
    assert replicas.run.state is RunState.WAITING

    restarted = replicas.engine()
    for _ in range(6):
        run = await replicas.step(restarted, watching)
        assert (run.state, run.attempt) == (RunState.WAITING, 1)

    replicas.beat("3")  # the agent is back
    run = await replicas.step(restarted, watching)
    assert (run.state, run.attempt) == (RunState.ASSIGNED, 2)


async def test_a_replica_that_starts_takes_nothing_from_a_living_agent(replicas):
    first = replicas.engine()
    for number in range(4):
        replicas.beat(str(number))
        await replicas.step(first)
    second = replicas.engine()
    for number in range(4, 12):
        replicas.beat(str(number))
        run = await replicas.step(second, first)
        assert (run.state, run.attempt) == (RunState.ASSIGNED, 1)
