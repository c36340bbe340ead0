"""What every store must do; one class, run over SQLite, Valkey and redis-server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import pytest
from detctl_coordinator.domain.audit import AuditState
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey
from detctl_coordinator.domain.run import RunState
from detctl_coordinator.storage.store import (
    ConflictError,
    FencedError,
    MissingError,
    RejectedDataError,
    Store,
    StoreError,
)
from givens import FORWARD, LOSS, a_run, a_seal, a_segment, an_audit, an_entry, ended, opened
from places import Place

THREADS = 8


def in_threads(work: Callable[[int], object], threads: int = THREADS) -> list[object]:
    """Starts all at the same moment; results or the exceptions raised, by thread."""
    barrier = threading.Barrier(threads)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return work(number)
        except StoreError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


class TestAudits:
    def test_comes_back_as_it_was_put_with_the_next_version(self, store: Store) -> None:
        audit = an_audit(a_run(), a_run("run-2", machine="gpu2"))
        stored = store.put_audit(audit)
        assert stored == replace(audit, version=1)
        assert store.audit("audit-1") == stored
        assert list(stored.runs) == ["run-1", "run-2"]

    def test_unknown_ids_are_none(self, store: Store) -> None:
        assert store.audit("nobody") is None
        assert store.run("nobody") is None
        assert store.runs(audit_id="nobody") == store.audits() == store.active_audits() == []

    def test_an_old_version_conflicts_and_changes_nothing(self, store: Store) -> None:
        first = store.put_audit(an_audit(a_run()))
        second = store.put_audit(replace(first, message="two"))
        for version in (0, 1, 7):
            with pytest.raises(ConflictError):
                store.put_audit(replace(first, version=version, message="late"))
        assert store.audit("audit-1") == second

    def test_of_eight_threads_one_wins_each_version(self, store: Store) -> None:
        store.put_audit(an_audit(a_run()))

        def advance(number: int) -> int:
            audit = store.audit("audit-1")
            assert audit is not None
            for _ in range(200):
                try:
                    return store.put_audit(replace(audit, message=f"{audit.message} {number}")).version
                except ConflictError:
                    audit = store.audit("audit-1")
                    assert audit is not None
            raise AssertionError("never won")

        versions = in_threads(advance)
        assert sorted(map(str, versions)) == sorted(map(str, range(2, THREADS + 2)))
        audit = store.audit("audit-1")
        assert audit is not None and sorted(audit.message.split()) == [str(number) for number in range(THREADS)]

    def test_of_eight_creators_one_wins(self, store: Store) -> None:
        outcomes = in_threads(lambda number: store.put_audit(an_audit(a_run(), message=str(number))))
        assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == THREADS - 1

    def test_lists_are_newest_first_and_active_is_what_works(self, store: Store) -> None:
        for number, state in enumerate(AuditState):
            store.put_audit(an_audit(audit_id=f"audit-{number}", created=100.0 + number, state=state))
        assert [audit.audit_id for audit in store.audits()] == ["audit-3", "audit-2", "audit-1", "audit-0"]
        assert [audit.audit_id for audit in store.audits(limit=2)] == ["audit-3", "audit-2"]
        assert [audit.audit_id for audit in store.active_audits()] == ["audit-0", "audit-1"]
        store.put_audit(replace(store.active_audits()[0], state=AuditState.CANCELLED))
        assert [audit.audit_id for audit in store.active_audits()] == ["audit-1"]

    def test_runs_are_found_by_audit_machine_and_recipe(self, store: Store) -> None:
        for number in range(3):
            runs = [
                a_run(f"run-{number}-{machine}", f"audit-{number}", machine, created_unix_s=100.0 + number)
                for machine in ("gpu1", "gpu2")
            ]
            runs[0] = replace(runs[0], spec=replace(runs[0].spec, recipe="gpt" if number == 2 else "digits"))
            store.put_audit(an_audit(*runs, audit_id=f"audit-{number}"))
        ids = [run.spec.run_id for run in store.runs()]
        assert ids == [f"run-{number}-{machine}" for number in (2, 1, 0) for machine in ("gpu2", "gpu1")]
        assert [run.spec.run_id for run in store.runs(limit=1)] == ids[:1]
        assert {run.spec.run_id for run in store.runs(audit_id="audit-1")} == {"run-1-gpu1", "run-1-gpu2"}
        assert [run.spec.run_id for run in store.runs(machine="gpu1", recipe="digits")] == ["run-1-gpu1", "run-0-gpu1"]
        found = store.run("run-2-gpu1")
        assert found is not None and found.spec.recipe == "gpt"

    def test_a_run_is_as_its_audit_has_it(self, store: Store) -> None:
        audit = store.put_audit(an_audit(a_run()))
        run = replace(audit.runs["run-1"], state=RunState.RUNNING, step=7, manifest={"torch": {"threads": 2}})
        store.put_audit(replace(audit, runs={"run-1": run}))
        assert store.run("run-1") == run

    def test_names_that_are_not_utf8_come_back_as_escapes(self, store: Store) -> None:
        store.put_audit(an_audit(a_run(message="b\udcff \x1b[31m \0 é"), message="\udc80"))
        found = store.audit("audit-1")
        assert found is not None
        assert found.message == "\\udc80"  # as it is in a message: protobuf takes no lone surrogate
        assert found.runs["run-1"].message == "b\\udcff \x1b[31m \\x00 é"

    def test_machines(self, store: Store) -> None:
        store.put_machine("gpu2", {"last_seen_unix_s": 1.5, "recipes": [{"name": "digits"}]})
        store.put_machine("gpu1", {})
        store.put_machine("gpu2", {"last_seen_unix_s": 2.5})
        assert store.machines() == {"gpu1": {}, "gpu2": {"last_seen_unix_s": 2.5}}


class TestSegments:
    def test_comes_back_byte_for_byte(self, store: Store) -> None:
        opened(store)
        for rank in (0, 1):
            for number in range(3):
                store.put_segment("run-1", 1, *a_segment(number, rank))
        for rank in (0, 1):
            assert store.segment_metas("run-1", rank) == [a_segment(number, rank)[0] for number in range(3)]
            blobs = store.segment_columns("run-1", rank, [2, 0])
            assert blobs == {number: a_segment(number, rank)[1] for number in (0, 2)}
        assert store.segment_metas("run-1", 2) == []
        with pytest.raises(MissingError):
            store.segment_columns("run-1", 0, [3])

    def test_the_index_is_read_by_position(self, store: Store) -> None:
        opened(store)
        for number in range(50):
            store.put_segment("run-1", 1, *a_segment(number, steps=4))
        assert store.streams("run-1") == {FORWARD: 200, LOSS: 200}
        for ordinal in (0, 1, 99, 199):
            assert store.entry("run-1", LOSS, ordinal) == an_entry(ordinal)
        assert store.entries("run-1", FORWARD, 95, 105) == [an_entry(ordinal) for ordinal in range(95, 105)]
        assert store.entries("run-1", FORWARD, 198, 300) == [an_entry(198), an_entry(199)]
        assert store.entries("run-1", FORWARD, 200, 300) == store.entries("run-1", FORWARD, 5, 5) == []
        for ordinal in (200, 10**6):
            with pytest.raises(MissingError):
                store.entry("run-1", FORWARD, ordinal)

    def test_the_same_again_changes_nothing(self, store: Store) -> None:
        opened(store)
        for number in (0, 1, 0, 1, 1, 0):
            store.put_segment("run-1", 1, *a_segment(number))
            store.open_attempt("run-1", 1)
        assert store.streams("run-1") == {FORWARD: 4, LOSS: 4}
        assert [meta.number for meta in store.segment_metas("run-1", 0)] == [0, 1]

    @pytest.mark.parametrize("seed", range(3))
    def test_in_any_order_with_repetitions_the_result_is_the_same(self, store: Store, seed: int) -> None:
        random = Random(seed)
        opened(store)
        numbers = list(range(12)) * 2
        random.shuffle(numbers)
        arrived: set[int] = set()
        for number in numbers:
            meta, columns, closed = a_segment(number)
            random.shuffle(closed)
            store.put_segment("run-1", 1, meta, columns, closed)
            arrived.add(number)
            gapless = next(n for n in range(13) if n not in arrived) * 2
            assert store.streams("run-1") == ({FORWARD: gapless, LOSS: gapless} if gapless else {})
        assert store.entries("run-1", FORWARD, 0, 24) == [an_entry(ordinal) for ordinal in range(24)]

    def test_entries_end_at_a_gap(self, store: Store) -> None:
        opened(store)
        for number in (0, 2):
            store.put_segment("run-1", 1, *a_segment(number))
        assert [entry.ordinal for entry in store.entries("run-1", FORWARD, 0, 9)] == [0, 1]
        assert store.entries("run-1", FORWARD, 2, 9) == []

    def test_a_segment_of_four_mebibytes(self, store: Store) -> None:
        opened(store)
        meta, columns, closed = a_segment(0, size=4 << 20)
        store.put_segment("run-1", 1, meta, columns, closed)
        assert store.segment_columns("run-1", 0, [0])[0] == columns

    def test_eight_writers_of_eight_ranks(self, store: Store) -> None:
        opened(store)

        def write(rank: int) -> None:
            for number in range(20):
                store.put_segment("run-1", 1, *a_segment(number, rank))
            store.put_seal("run-1", 1, a_seal(rank, 20))

        assert in_threads(write) == [None] * THREADS
        assert len(store.streams("run-1")) == 2 * THREADS
        assert set(store.streams("run-1").values()) == {40}
        assert store.seals("run-1") == {rank: a_seal(rank, 20) for rank in range(THREADS)}
        for rank in range(THREADS):
            assert store.segment_columns("run-1", rank, range(20)) == {n: a_segment(n, rank)[1] for n in range(20)}

    def test_eight_senders_of_the_same(self, store: Store) -> None:
        opened(store)
        assert in_threads(lambda _: store.put_segment("run-1", 1, *a_segment(0))) == [None] * THREADS
        assert store.streams("run-1") == {FORWARD: 2, LOSS: 2}

    def test_what_is_out_of_bounds_is_refused_and_leaves_no_trace(self, store: Store) -> None:
        opened(store)
        meta, columns, closed = a_segment(0)
        far = [(FORWARD, an_entry(1_000_000))]
        wrong = [
            (meta, columns, [*closed, *far]),
            (meta, columns, [(StreamKey(1, Stage.LOSS), an_entry(0))]),
            (meta, columns, [(FORWARD, replace(an_entry(0), chain=b"short"))]),
            (meta, columns, [(FORWARD, replace(an_entry(0), step=1 << 32))]),
            (meta, columns[:-1], closed),
            (replace(meta, rank=-1), columns, []),
            (replace(meta, bytes=17 << 20), bytes(17 << 20), []),
        ]
        for segment in wrong:
            with pytest.raises(RejectedDataError):
                store.put_segment("run-1", 1, *segment)
        assert store.streams("run-1") == {}
        assert store.segment_metas("run-1", 0) == []
        store.put_segment("run-1", 1, meta, columns, closed)

    def test_phases_and_stages_are_streams_of_their_own(self, store: Store) -> None:
        opened(store)
        keys = [StreamKey(0, stage, phase) for stage in Stage for phase in Phase]
        meta, columns, _ = a_segment(0)
        store.put_segment("run-1", 1, meta, columns, [(key, an_entry(0, seed)) for seed, key in enumerate(keys)])
        assert store.streams("run-1") == dict.fromkeys(keys, 1)
        assert [store.entry("run-1", key, 0) for key in keys] == [an_entry(0, seed) for seed in range(len(keys))]


class TestAttempts:
    def test_nothing_is_taken_before_an_attempt_is_open(self, store: Store) -> None:
        store.put_audit(an_audit(a_run()))
        assert store.attempt("run-1") == 0
        with pytest.raises(StoreError) as caught:
            store.put_segment("run-1", 1, *a_segment(0))
        assert not isinstance(caught.value, FencedError)  # the agent must keep it and try again

    def test_a_run_that_no_audit_holds_is_fenced(self, store: Store) -> None:
        for call in (
            lambda: store.open_attempt("stranger", 1),
            lambda: store.open_attempt("stranger", 0),
            lambda: store.put_segment("stranger", 1, *a_segment(0)),
            lambda: store.put_seal("stranger", 1, a_seal()),
        ):
            with pytest.raises(FencedError):
                call()

    def test_a_newer_attempt_fences_the_older_and_starts_empty(self, store: Store) -> None:
        opened(store)
        store.put_segment("run-1", 1, *a_segment(0))
        store.put_seal("run-1", 1, a_seal())
        store.open_attempt("run-1", 3)
        assert store.attempt("run-1") == 3
        assert store.streams("run-1") == store.seals("run-1") == {}
        assert store.segment_metas("run-1", 0) == []
        for call in (
            lambda: store.put_segment("run-1", 1, *a_segment(1)),
            lambda: store.put_seal("run-1", 1, a_seal()),
            lambda: store.open_attempt("run-1", 2),
        ):
            with pytest.raises(FencedError):
                call()
        store.put_segment("run-1", 3, *a_segment(0, seed=9))
        assert store.segment_columns("run-1", 0, [0]) == {0: a_segment(0, seed=9)[1]}
        assert store.entry("run-1", FORWARD, 0) == an_entry(0, seed=9)

    def test_no_write_of_an_old_attempt_lands_after_the_new_one_opened(self, store: Store) -> None:
        opened(store)
        fenced = threading.Event()

        def work(number: int) -> int:
            if number == 0:
                for segment in range(5):
                    store.put_segment("run-1", 1, *a_segment(segment, rank=9))
                store.open_attempt("run-1", 2)
                return 0
            for segment in range(10_000):
                try:
                    store.put_segment("run-1", 1, *a_segment(segment, rank=number))
                except FencedError:
                    fenced.set()
                    return segment
            raise AssertionError("was never fenced off")

        outcomes = in_threads(work, 4)
        assert fenced.is_set() and all(isinstance(outcome, int) for outcome in outcomes)
        assert store.streams("run-1") == {}
        assert all(store.segment_metas("run-1", rank) == [] for rank in (1, 2, 3, 9))


class TestRetention:
    def test_only_runs_that_are_over_go(self, store: Store) -> None:
        live = store.put_audit(an_audit(a_run("live-1", "live", state=RunState.SEALED), audit_id="live"))
        done = store.put_audit(an_audit(a_run("old-1", "done"), a_run("old-2", "done"), audit_id="done"))
        for run_id in ("old-1", "old-2", "live-1"):
            store.open_attempt(run_id, 1)
            store.put_segment(run_id, 1, *a_segment(0))
        assert store.delete_runs(["old-1"]) == []  # waiting
        done = ended(store, done)
        assert store.delete_runs(["old-1", "live-1", "nobody", "old-1"]) == ["old-1"]
        assert store.run("old-1") is None
        assert store.streams("old-1") == {} and store.attempt("old-1") == 0
        assert store.segment_metas("old-1", 0) == []
        assert [run.spec.run_id for run in store.runs()] == ["old-2", "live-1"]
        assert store.streams("old-2") == store.streams("live-1") == {FORWARD: 2, LOSS: 2}
        assert store.audit("live") == live
        with pytest.raises(ConflictError):  # whoever holds the document of before must look again
            store.put_audit(done)

    def test_a_late_agent_of_a_deleted_run_is_fenced(self, store: Store) -> None:
        audit = store.put_audit(an_audit(a_run()))
        store.open_attempt("run-1", 1)
        ended(store, audit)
        assert store.delete_runs(["run-1"]) == ["run-1"]
        for call in (
            lambda: store.put_segment("run-1", 1, *a_segment(0)),
            lambda: store.put_seal("run-1", 1, a_seal()),
            lambda: store.open_attempt("run-1", 2),
        ):
            with pytest.raises(FencedError):
                call()

    def test_by_age_audits_left_empty_go_too(self, store: Store) -> None:
        for number in range(3):
            run = a_run(f"run-{number}", f"audit-{number}", created_unix_s=100.0 * number)
            ended(store, store.put_audit(an_audit(run, audit_id=f"audit-{number}", created=100.0 * number)))
        active = a_run("run-9", "audit-9", created_unix_s=0.0)
        store.put_audit(an_audit(active, audit_id="audit-9", created=0.0))
        assert store.delete_older_than(100.0, keep_audits=True) == ["run-0"]
        assert {audit.audit_id for audit in store.audits()} == {"audit-0", "audit-1", "audit-2", "audit-9"}
        assert store.delete_older_than(200.0) == ["run-1"]
        assert [audit.audit_id for audit in store.audits()] == ["audit-2", "audit-9"]
        assert store.delete_older_than(200.0) == []

    def test_deletion_by_hand_keeps_the_verdict(self, store: Store) -> None:
        audit = ended(store, store.put_audit(an_audit(a_run(), verdict_json='{"outcome": "identical"}')))
        store.delete_runs(["run-1"])
        kept = store.audit("audit-1")
        assert kept == replace(audit, runs={}, version=audit.version + 1)


class TestIdentity:
    def test_tokens_come_back_and_change(self, store: Store) -> None:
        assert store.tokens() == {}
        store.put_token("b", {"name": "gpu2", "revoked_unix_s": 0.0})
        store.put_token("a", {"name": "gpu1", "revoked_unix_s": 0.0})
        store.put_token("b", {"name": "gpu2", "revoked_unix_s": 7.5})
        assert store.tokens() == {
            "a": {"name": "gpu1", "revoked_unix_s": 0.0},
            "b": {"name": "gpu2", "revoked_unix_s": 7.5},
        }

    def test_the_log_is_numbered_and_read_from_its_end(self, store: Store) -> None:
        assert store.log() == []
        for number in range(1, 8):
            store.append_log(f"key-{number}", {"text": f"é {number}"})
        assert [number for number, _ in store.log()] == [7, 6, 5, 4, 3, 2, 1]
        assert store.log(limit=2) == [(n, {"key": f"key-{n}", "text": f"é {n}"}) for n in (7, 6)]
        assert [number for number, _ in store.log(before=3)] == [2, 1]
        assert store.log(before=1) == []

    def test_of_eight_who_tell_the_same_one_is_written_and_it_stands(self, store: Store) -> None:
        store.append_log("first", {"text": "first"})
        in_threads(lambda number: store.append_log("same", {"text": str(number)}))
        entries = store.log()
        store.append_log("same", {"text": "late"})
        assert store.log() == entries and [number for number, _ in entries] == [2, 1]

    def test_token_and_log_outlive_the_process(self, place: Place) -> None:
        store = place.open()
        store.put_token("a", {"name": "gpu1"})
        store.append_log("key", {"text": "made"})
        store.close()
        again = place.open()
        assert again.tokens() == {"a": {"name": "gpu1"}} and again.log() == [(1, {"key": "key", "text": "made"})]


class TestService:
    def test_check_of_a_sound_store_warns_of_nothing(self, store: Store) -> None:
        assert [text for text in store.check() if "are free on its disk" not in text] == []

    def test_everything_is_there_after_a_restart(self, place: Place) -> None:
        store = place.open()
        opened(store)
        for number in range(5):
            store.put_segment("run-1", 1, *a_segment(number))
        store.put_seal("run-1", 1, a_seal(segments=5))
        store.put_machine("gpu1", {"a": 1})
        audits = store.audits()
        place.close()
        if place.server is not None:
            place.server.kill()
            place.server.start()
        store = place.open()
        assert store.audits() == audits and store.machines() == {"gpu1": {"a": 1}}
        assert store.attempt("run-1") == 1
        assert store.streams("run-1") == {FORWARD: 10, LOSS: 10}
        assert store.segment_columns("run-1", 0, range(5)) == {n: a_segment(n)[1] for n in range(5)}
        assert store.seals("run-1") == {0: a_seal(segments=5)}
