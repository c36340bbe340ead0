"""Watching an audit: many watchers cost the store what one costs, get the same, and all get the verdict."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from detctl_coordinator.domain.audit import AuditRequest
from detctl_coordinator.domain.lifecycle_events import Cancel, RunAccepted
from detctl_coordinator.domain.machine import Machine, Working
from detctl_coordinator.domain.run import Arm, RunSpec
from detctl_coordinator.errors.codes import RefusedCallError
from detctl_coordinator.quotas.quotas import Quotas
from detctl_coordinator.rpc.audits import AuditsServicer
from detctl_coordinator.scheduling import audit_lifecycle as lifecycle
from detctl_coordinator.scheduling.engine import Engine
from detctl_coordinator.server.settings import Settings
from detctl_coordinator.storage.async_store import AsyncStore
from detctl_coordinator.storage.documents import machine_to_json
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import StoreError
from detctl_proto.v1 import audits_pb2 as pb

WATCHERS = 50


class CountedStore(SqliteStore):
    """Counts what a watch may ask of it."""

    def __init__(self, path) -> None:
        super().__init__(path)
        self.reads = 0

    def audit(self, audit_id):
        self.reads += 1
        return super().audit(audit_id)

    def machines(self):
        self.reads += 1
        return super().machines()


@pytest.fixture
def store(tmp_path):
    store = CountedStore(tmp_path / "store.db")
    spec = RunSpec("a.000", "a", "digits", Arm("gpu1"), 0)
    store.put_audit(lifecycle.plan("a", AuditRequest("digits", ("gpu1",)), [spec], 1.0))
    yield store
    store.close()


@pytest.fixture
def engine(store):
    return Engine(AsyncStore(store), lease_s=60.0, machine_timeout_s=60.0)


class Watcher:
    """Reads one WatchAudit call in a task."""

    def __init__(self, servicer: AuditsServicer, audit_id: str = "a") -> None:
        self.got: list[pb.AuditProgress] = []
        self._more = asyncio.Condition()
        self.task = asyncio.create_task(self._read(servicer.WatchAudit(pb.AuditRef(audit_id=audit_id), Context())))

    async def _read(self, replies) -> None:
        async for reply in replies:
            async with self._more:
                self.got.append(reply if isinstance(reply, pb.AuditProgress) else pb.AuditProgress.FromString(reply))
                self._more.notify_all()

    async def until(self, condition) -> pb.AuditProgress:
        async with self._more:
            await self._more.wait_for(lambda: any(map(condition, self.got)))
        return next(filter(condition, self.got))


class Context:
    def peer(self):
        return "ipv4:127.0.0.1:1"

    async def abort(self, code, text):
        raise AbortedError(code, text)


class AbortedError(Exception):
    pass


async def test_watchers_of_an_audit_share_what_is_read(store, engine):
    servicer = AuditsServicer(engine, Quotas(Settings().quota))
    watchers = [Watcher(servicer) for _ in range(WATCHERS)]
    for watcher in watchers:
        await watcher.until(lambda progress: progress.state == "running")
    assert store.reads <= 3  # and not one a watcher
    for beat in ("1", "2"):
        working = (Working("a.000", 1, step=7, records=70),) if beat == "2" else ()
        store.put_machine("gpu1", machine_to_json(Machine("gpu1", boot_id="b", beat=beat, working=working)))
        await engine.step()
    await engine.step()
    await engine.apply("a", RunAccepted("a.000", 1))
    before = store.reads
    await engine.step()
    for watcher in watchers:
        await watcher.until(lambda progress: progress.runs[0].step == 7)
    assert store.reads - before <= 3
    before = store.reads
    await engine.apply("a", Cancel("enough"))
    await asyncio.gather(*(watcher.task for watcher in watchers))
    assert {watcher.got[-1].state for watcher in watchers} == {"cancelled"}
    assert store.reads - before <= 3  # the engine's own read, and one for all who watch


async def test_what_another_replica_changed_is_seen_at_the_next_look(store, engine):
    servicer = AuditsServicer(engine, Quotas(Settings().quota))
    watcher = Watcher(servicer)
    await watcher.until(lambda progress: progress.state == "running")
    await engine.step()
    other = Engine(AsyncStore(store), lease_s=60.0, machine_timeout_s=60.0)
    await other.apply("a", Cancel("elsewhere"))
    await engine.step()
    await watcher.task
    assert watcher.got[-1].message == "elsewhere"


async def test_an_old_look_does_not_undo_what_was_changed_since(store, engine):
    audit = store.audit("a")
    await engine.step()
    await engine.apply("a", RunAccepted("a.000", 0), Cancel("enough"))
    assert engine.snapshot.audit("a") is None
    engine.snapshot.update([audit], {})
    assert engine.snapshot.audit("a") is None
    newer, begun = replace(audit, version=audit.version + 1), replace(audit, audit_id="b")
    engine.snapshot.update([audit], {})
    engine.snapshot.record_change(newer)
    engine.snapshot.record_change(begun)
    engine.snapshot.update([audit], {})  # it began before the two
    assert list(engine.snapshot.audits()) == [newer, begun]
    engine.snapshot.update([newer], {})  # it began after them: what it does not find is over
    assert list(engine.snapshot.audits()) == [newer]


async def test_an_audit_that_is_unknown_or_goes_away(store, engine):
    servicer = AuditsServicer(engine, Quotas(Settings().quota))
    for unknown in ("b", "../x", ""):
        with pytest.raises(AbortedError, match="no audit"):
            await Watcher(servicer, unknown).task
    with pytest.raises(RefusedCallError, match="no audit"):
        async for _ in servicer._watches.watch("b"):
            pass
    assert not servicer._watches._followers


async def test_nobody_is_followed_whom_nobody_watches(store, engine):
    servicer = AuditsServicer(engine, Quotas(Settings().quota))
    watchers = [Watcher(servicer) for _ in range(2)]
    for watcher in watchers:
        await watcher.until(lambda progress: True)
    for watcher in watchers:
        watcher.task.cancel()
    await asyncio.gather(*(watcher.task for watcher in watchers), return_exceptions=True)
    assert not servicer._watches._followers


async def test_a_watch_that_fails_sends_nothing_more(store, engine):
    """An empty progress would look like a coordinator that is back, and like an audit without a state."""
    servicer = AuditsServicer(engine, Quotas(Settings().quota))
    watcher = Watcher(servicer)
    await watcher.until(lambda progress: progress.state == "running")
    seen = len(watcher.got)

    def fails(audit_id):
        raise StoreError("the store is gone")

    store.audit = fails
    engine.snapshot.set_store_down()
    with pytest.raises(AbortedError, match="the store is gone"):
        await watcher.task
    assert len(watcher.got) == seen
    late = Watcher(servicer)
    with pytest.raises(AbortedError, match="the store is gone"):
        await late.task
    assert late.got == []
