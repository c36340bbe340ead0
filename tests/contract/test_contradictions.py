"""What arrives again: with the same content it changes nothing, with other content it is refused; a run that is over takes nothing new."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import redis
from detctl_coordinator.domain.audit import Audit, AuditState
from detctl_coordinator.domain.fingerprint import SegmentMeta, Stage, StreamKey
from detctl_coordinator.domain.run import RunOutcome, RunState
from detctl_coordinator.storage.sqlite.store import SqliteStore
from detctl_coordinator.storage.store import ContradictionError, FencedError, RunOverError, Store
from givens import FORWARD, LOSS, Closed, a_run, a_seal, a_segment, an_audit, an_entry, opened
from places import make_place


def held(store: Store) -> Audit:
    """An audit whose one run is trained now, attempt 1."""
    audit = store.put_audit(an_audit(a_run(state=RunState.RUNNING, attempt=1)))
    store.open_attempt("run-1", 1)
    return audit


def with_run(audit: Audit, **changes: Any) -> Audit:
    return replace(audit, runs={run_id: replace(run, **changes) for run_id, run in audit.runs.items()})


def stored(store: Store) -> tuple[Any, ...]:
    """All that the run has sent."""
    streams = store.streams("run-1")
    ranks = sorted({key.rank for key in streams} | set(range(3)))
    metas = {rank: store.segment_metas("run-1", rank) for rank in ranks}
    return (
        streams,
        {key: store.entries("run-1", key, 0, count) for key, count in streams.items()},
        metas,
        {rank: store.segment_columns("run-1", rank, [meta.number for meta in metas[rank]]) for rank in ranks},
        store.seals("run-1"),
    )


def other_columns(meta: SegmentMeta, columns: bytes, closed: Closed) -> tuple[SegmentMeta, bytes, Closed]:
    changed = bytes([columns[0] ^ 1]) + columns[1:]
    return replace(meta, crc32=zlib.crc32(changed)), changed, closed


def other_entry(meta: SegmentMeta, columns: bytes, closed: Closed) -> tuple[SegmentMeta, bytes, Closed]:
    (key, entry), *rest = closed
    return meta, columns, [*rest, (key, replace(entry, digest=bytes(16)))]


CHANGES: dict[str, Callable[[SegmentMeta, bytes, Closed], tuple[SegmentMeta, bytes, Closed]]] = {
    "columns": other_columns,
    "columns of the same checksum": lambda m, c, e: (m, bytes([c[0] ^ 1]) + c[1:], e),
    "all": lambda m, c, e: a_segment(m.number, m.rank, seed=1),
    "entry": other_entry,
    "count of an entry": lambda m, c, e: (m, c, [(e[0][0], replace(e[0][1], count=9)), *e[1:]]),
    "one entry more": lambda m, c, e: (m, c, [*e, (FORWARD, an_entry(4))]),
    "an entry of a new stream": lambda m, c, e: (m, c, [*e, (StreamKey(0, Stage.UPDATE), an_entry(0))]),
    "scheme": lambda m, c, e: (replace(m, scheme="n6.v2"), c, e),
    "level": lambda m, c, e: (replace(m, level="op"), c, e),
    "count of records": lambda m, c, e: (replace(m, record_count=1), c, e),
    "steps": lambda m, c, e: (replace(m, last_step=99), c, e),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_number_with_other_content_is_refused_and_changes_nothing(store: Store, change: str) -> None:
    held(store)
    for number in (0, 1):
        store.put_segment("run-1", 1, *a_segment(number))
    before = stored(store)
    with pytest.raises(ContradictionError):
        store.put_segment("run-1", 1, *CHANGES[change](*a_segment(1)))
    assert stored(store) == before
    store.put_segment("run-1", 1, *a_segment(1))
    assert stored(store) == before


def test_an_entry_that_another_segment_brought_is_not_overwritten(store: Store) -> None:
    held(store)
    store.put_segment("run-1", 1, *a_segment(0))
    before = stored(store)
    meta, columns, closed = a_segment(1)
    for forged in ([(FORWARD, an_entry(1, seed=7))], [*closed, (LOSS, an_entry(0, seed=7))]):
        with pytest.raises(ContradictionError, match="entry"):
            store.put_segment("run-1", 1, meta, columns, forged)
    assert stored(store) == before
    store.put_segment("run-1", 1, meta, columns, [*closed, (FORWARD, an_entry(1))])
    assert store.entries("run-1", FORWARD, 0, 9) == [an_entry(ordinal) for ordinal in range(4)]


def test_entries_behind_a_gap_are_not_overwritten_either(store: Store) -> None:
    held(store)
    store.put_segment("run-1", 1, *a_segment(2))
    meta, columns, _ = a_segment(1)
    with pytest.raises(ContradictionError, match="entry 5 of loss/train"):
        store.put_segment("run-1", 1, meta, columns, [(LOSS, an_entry(n, seed=n // 5)) for n in range(2, 6)])
    for number in (0, 1):
        store.put_segment("run-1", 1, *a_segment(number))
    assert store.entries("run-1", LOSS, 0, 9) == [an_entry(ordinal) for ordinal in range(6)]


def test_an_ordinal_twice_in_one_segment(store: Store) -> None:
    held(store)
    meta, columns, closed = a_segment(0)
    with pytest.raises(Exception, match="twice, with different content"):
        store.put_segment("run-1", 1, meta, columns, [*closed, (FORWARD, an_entry(0, seed=1))])
    store.put_segment("run-1", 1, meta, columns, [*closed, closed[0]])
    assert store.streams("run-1") == {FORWARD: 2, LOSS: 2}


def test_a_seal_with_other_content_is_refused(store: Store) -> None:
    held(store)
    seal = a_seal(segments=1)
    for _ in range(2):
        store.put_seal("run-1", 1, seal)
    for other in (replace(seal, segments=2), replace(seal, complete=False), replace(seal, detail={})):
        with pytest.raises(ContradictionError, match="rank 0 was sealed before"):
            store.put_seal("run-1", 1, other)
    assert store.seals("run-1") == {0: seal}


def test_a_sealed_rank_takes_no_new_segment_and_another_rank_does(store: Store) -> None:
    held(store)
    store.put_segment("run-1", 1, *a_segment(0))
    store.put_seal("run-1", 1, a_seal())
    before = stored(store)
    store.put_segment("run-1", 1, *a_segment(0))
    for segment in (a_segment(1), a_segment(7), a_segment(0, seed=1)):
        with pytest.raises(ContradictionError):
            store.put_segment("run-1", 1, *segment)
    assert stored(store) == before
    store.put_segment("run-1", 1, *a_segment(0, rank=1))
    assert store.segment_metas("run-1", 1) == [a_segment(0, rank=1)[0]]


OVER: dict[str, Callable[[Audit], Audit]] = {
    "ended": lambda a: with_run(a, outcome=RunOutcome("exit")),
    "sealed": lambda a: replace(with_run(a, state=RunState.SEALED, outcome=RunOutcome("exit")), state=AuditState.DONE),
    "failed": lambda a: with_run(a, state=RunState.FAILED, outcome=RunOutcome("damaged")),
    "cancelled": lambda a: replace(with_run(a, state=RunState.CANCELLED), state=AuditState.CANCELLED),
    "lost": lambda a: with_run(a, state=RunState.WAITING),
}


@pytest.mark.parametrize("how", OVER)
def test_a_run_that_is_over_takes_nothing_new_and_acknowledges_what_is_there(store: Store, how: str) -> None:
    audit = held(store)
    store.put_segment("run-1", 1, *a_segment(0))
    store.put_segment("run-1", 1, *a_segment(0, rank=1))
    store.put_seal("run-1", 1, a_seal())
    audit = store.put_audit(OVER[how](audit))
    before = stored(store)
    store.open_attempt("run-1", 1)  # repeated, as an engine does that starts again
    for _ in range(2):  # an agent whose acknowledgement was lost
        store.put_segment("run-1", 1, *a_segment(0))
        store.put_segment("run-1", 1, *a_segment(0, rank=1))
        store.put_seal("run-1", 1, a_seal())
    for call in (
        lambda: store.put_segment("run-1", 1, *a_segment(1, rank=1)),
        lambda: store.put_segment("run-1", 1, *a_segment(0, rank=2)),
        lambda: store.put_seal("run-1", 1, a_seal(rank=1)),
        lambda: store.put_seal("run-1", 1, a_seal(rank=2)),
    ):
        with pytest.raises(RunOverError, match="attempt 1 has ended"):
            call()
    for contradiction in (
        lambda: store.put_segment("run-1", 1, *a_segment(0, seed=1)),
        lambda: store.put_seal("run-1", 1, a_seal(segments=5)),
    ):
        with pytest.raises(ContradictionError):
            contradiction()
    assert stored(store) == before
    store.put_audit(with_run(audit, state=RunState.RUNNING, attempt=2, outcome=None))
    with pytest.raises(FencedError):  # before the next attempt is open
        store.put_segment("run-1", 1, *a_segment(1, rank=1))
    store.open_attempt("run-1", 2)
    store.put_segment("run-1", 2, *a_segment(0, seed=3))


def test_writers_and_the_end_at_once(store: Store) -> None:
    """Whatever was acknowledged before the end is there; nothing lands after it."""
    audit = held(store)
    started, acknowledged, refused = threading.Barrier(4), set[tuple[int, int]](), list[int]()

    def write(rank: int) -> None:
        started.wait()
        for number in range(10_000):
            try:
                store.put_segment("run-1", 1, *a_segment(number, rank))
            except RunOverError:
                refused.append(rank)
                return
            acknowledged.add((rank, number))

    threads = [threading.Thread(target=write, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    store.put_audit(with_run(audit, outcome=RunOutcome("exit")))
    at_end = stored(store)
    for thread in threads:
        thread.join()
    assert sorted(refused) == [0, 1, 2] and stored(store) == at_end
    there = {(rank, meta.number) for rank in range(3) for meta in store.segment_metas("run-1", rank)}
    assert there == acknowledged


def test_of_two_who_send_different_content_at_once_one_is_refused(store: Store) -> None:
    held(store)
    started, answers = threading.Barrier(8), dict[int, str]()

    def write(seed: int) -> None:
        started.wait()
        try:
            store.put_segment("run-1", 1, *a_segment(0, seed=seed))
            answers[seed] = "taken"
        except ContradictionError:
            answers[seed] = "refused"

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [seed for seed, answer in answers.items() if answer == "taken"]
    assert store.segment_columns("run-1", 0, [0])[0] == a_segment(0, seed=winner)[1]
    assert store.entries("run-1", FORWARD, 0, 9) == [an_entry(ordinal, winner) for ordinal in range(2)]


@pytest.mark.parametrize("seed", range(3))
def test_forgeries_in_any_order_leave_what_was_sent_first(store: Store, seed: int) -> None:
    random, first = Random(seed), dict[int, int]()
    held(store)
    for _ in range(60):
        number, content = random.randrange(6), random.randrange(3)
        segment = a_segment(number, seed=content)
        if first.setdefault(number, content) == content:
            store.put_segment("run-1", 1, *segment)
        else:
            with pytest.raises(ContradictionError):
                store.put_segment("run-1", 1, *segment)
    for number, content in first.items():
        assert store.segment_columns("run-1", 0, [number]) == {number: a_segment(number, seed=content)[1]}
    for ordinal, entry in enumerate(store.entries("run-1", FORWARD, 0, 12)):
        assert entry == an_entry(ordinal, first[ordinal // 2])


class TestOlderStores:
    """Stores that did not keep which attempts have ended."""

    @pytest.fixture
    def sqlite_2(self, tmp_path: Path) -> SqliteStore:
        store = SqliteStore(tmp_path / "store.db")
        self.fill(store)
        store.close()
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.executescript("ALTER TABLE runs DROP COLUMN closed; PRAGMA user_version = 2;")
        return SqliteStore(tmp_path / "store.db")

    @pytest.fixture
    def redis_1(self, tmp_path: Path) -> Iterator[Store]:
        for place in make_place("valkey", tmp_path, "always"):
            self.fill(place.open())
            assert place.server is not None
            client = redis.Redis.from_url(place.server.address)
            for key in client.scan_iter("detctl:{run:*}:state"):
                client.hdel(key, "closed")
            client.set("detctl:{audits}:schema", 1)
            yield place.open()
            assert client.get("detctl:{audits}:schema") == b"2"

    @staticmethod
    def fill(store: Store) -> None:
        audit = held(store)
        store.put_segment("run-1", 1, *a_segment(0))
        store.put_seal("run-1", 1, a_seal())
        store.put_audit(OVER["sealed"](audit))
        opened(store, "run-2")
        store.put_segment("run-2", 1, *a_segment(0))

    @pytest.mark.parametrize("kind", ["sqlite_2", "redis_1"])
    def test_they_open_and_what_is_over_is_closed(self, kind: str, request: pytest.FixtureRequest) -> None:
        store: Store = request.getfixturevalue(kind)
        before = stored(store)
        store.put_segment("run-1", 1, *a_segment(0))
        store.put_seal("run-1", 1, a_seal())
        with pytest.raises(RunOverError):
            store.put_segment("run-1", 1, *a_segment(0, rank=1))
        with pytest.raises(ContradictionError):
            store.put_segment("run-1", 1, *a_segment(0, seed=1))
        assert stored(store) == before
        store.put_segment("run-2", 1, *a_segment(1))
        assert store.streams("run-2") == {FORWARD: 4, LOSS: 4}
