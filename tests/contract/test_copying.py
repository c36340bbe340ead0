"""Backup, restore and moves: one store copied into another, over each pair of kinds, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from detctl_coordinator.domain.audit import AuditState
from detctl_coordinator.domain.fingerprint import SealedStream
from detctl_coordinator.domain.run import RunState
from detctl_coordinator.main import main
from detctl_coordinator.storage.open_store import open_store
from detctl_coordinator.storage.reading.copying import copy_store
from detctl_coordinator.storage.reading.verify import verify
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import Store, StoreError
from givens import FORWARD, LOSS, a_run, a_seal, a_segment, an_audit, an_entry, ended, opened
from places import Place, make_place

SEGMENTS, STEPS = 5, 2


@pytest.fixture(params=["sqlite", "valkey"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "other"
    folder.mkdir()
    yield from make_place(request.param, folder, "always")


def filled(store: Store) -> None:
    """Two audits: one done with a sealed run of two attempts and a run of two ranks, one under way."""
    audit = store.put_audit(an_audit(a_run("run-1"), a_run("run-2"), created=1000.0))
    store.open_attempt("run-1", 1)
    store.put_segment("run-1", 1, *a_segment(0, seed=9))
    store.open_attempt("run-1", 2)
    count = SEGMENTS * STEPS
    for run_id, attempt, ranks in (("run-1", 2, 1), ("run-2", 1, 2)):
        store.open_attempt(run_id, attempt)
        for rank in range(ranks):
            for number in range(SEGMENTS):
                store.put_segment(run_id, attempt, *a_segment(number, rank))
            chain = an_entry(count - 1).chain
            streams = [SealedStream(replace(key, rank=rank), count, 3 * count, chain) for key in (FORWARD, LOSS)]
            store.put_seal(run_id, attempt, a_seal(rank, SEGMENTS, streams))
    ended(store, audit)
    opened(store, "run-3")
    store.put_segment("run-3", 1, *a_segment(0))
    store.put_machine("gpu1", {"name": "gpu1"})
    store.put_token("t", {"name": "gpu1"})
    for number in range(3):
        store.append_log(f"key-{number}", {"text": str(number)})


def test_everything_is_there_and_sound(store: Store, other: Place) -> None:
    filled(store)
    assert verify(store, "run-1") == []
    target = other.open()
    told: list[str] = []
    done = copy_store(store, target, told.append)
    assert done.problems == ()
    assert (done.audits, done.runs, done.segments, len(told)) == (2, 3, 3 * SEGMENTS + 1, 2)
    assert target.machines() == store.machines()
    assert target.tokens() == store.tokens()
    assert target.log() == store.log()
    assert [a.audit_id for a in target.audits()] == [a.audit_id for a in store.audits()]
    for audit in store.audits():
        there = target.audit(audit.audit_id)
        assert there is not None
        assert replace(there, version=audit.version) == audit
    for run_id in ("run-1", "run-2", "run-3"):
        assert target.attempt(run_id) == store.attempt(run_id)
        assert target.seals(run_id) == store.seals(run_id)
        assert target.streams(run_id) == store.streams(run_id)
        for key, count in store.streams(run_id).items():
            assert target.entries(run_id, key, 0, count) == store.entries(run_id, key, 0, count)
        for rank in (0, 1):
            numbers = [meta.number for meta in store.segment_metas(run_id, rank)]
            assert target.segment_metas(run_id, rank) == store.segment_metas(run_id, rank)
            assert target.segment_columns(run_id, rank, numbers) == store.segment_columns(run_id, rank, numbers)
    (active,) = target.active_audits()
    assert active.state is AuditState.RUNNING
    target.append_log("key-1", {"text": "told again by the audit"})
    assert target.log() == store.log(), "what an audit tells again after a restore is known"


def test_a_store_that_holds_something_is_left_alone(store: Store, other: Place) -> None:
    filled(store)
    target = other.open()
    target.put_token("mine", {"name": "gpu9"})
    with pytest.raises(StoreError, match="not empty"):
        copy_store(store, target)
    assert target.audits() == [] and list(target.tokens()) == ["mine"]


def test_a_run_that_is_not_sound_is_named(store: Store, other: Place) -> None:
    audit = store.put_audit(an_audit(a_run("run-1")))
    store.open_attempt("run-1", 1)
    store.put_seal("run-1", 1, a_seal(0, 3))
    ended(store, audit)
    done = copy_store(store, other.open())
    assert done.problems == ("run run-1: rank 0: 3 of 3 segments are missing: 0, 1, 2",)


def test_a_run_that_was_deleted_is_no_trouble(store: Store, other: Place) -> None:
    filled(store)
    assert store.delete_runs(["run-1"]) == ["run-1"]
    target = other.open()
    assert copy_store(store, target).problems == ()
    assert target.attempt("run-1") == 0 and target.seals("run-2") == store.seals("run-2")


def test_the_command_backs_up_and_restores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = SqliteStore(tmp_path / "store.db")
    filled(source)
    before = source.audits()
    address = f"sqlite:{tmp_path}/store.db"
    backup, restored = f"sqlite:{tmp_path}/backup.sqlite", f"sqlite:{tmp_path}/restored.sqlite"
    assert main(["copy", "--store", address, "--to", backup]) == 2
    assert "in use by another coordinator" in capsys.readouterr().err
    source.close()
    assert main(["copy", "--store", address, "--to", backup]) == 0
    assert "copied 2 audits, 3 runs" in capsys.readouterr().out
    assert main(["copy", "--store", backup, "--to", restored]) == 0
    assert main(["copy", "--store", backup, "--to", restored]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["copy", "--store", backup, "--to", backup]) == 2
    assert main(["copy", "--store", backup]) == 2
    assert main(["copy", "--store", f"sqlite:{tmp_path}/nothing", "--to", f"sqlite:{tmp_path}/x"]) == 2
    assert "does not exist" in capsys.readouterr().err and not (tmp_path / "nothing").exists()
    again = open_store(restored)
    assert [replace(a, version=0) for a in again.audits()] == [replace(a, version=0) for a in before]
    assert again.run("run-1").state is RunState.SEALED
    again.close()
