"""A run read back for a comparison, and verified against its seals, over each store."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

import pytest
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.domain.fingerprint import (
    Fingerprint,
    Phase,
    Seal,
    SealedStream,
    SegmentMeta,
    Stage,
    StepEntry,
    StreamKey,
)
from detctl_coordinator.storage.reading import reader
from detctl_coordinator.storage.reading.columns import pack
from detctl_coordinator.storage.reading.reader import StoredRun, verify
from detctl_coordinator.storage.store import Store, StoreError
from givens import a_run, an_audit, opened

STEPS, SITES, PER_SEGMENT = 20, 7, 32
FORWARD, LOSS = StreamKey(0, Stage.FORWARD), StreamKey(0, Stage.LOSS)


def record(sequence: int, key: StreamKey, step: int, site: int) -> Fingerprint:
    digest = blake2b(f"{key} {step} {site}".encode(), digest_size=16).digest()
    evidence = {"line": 31} if site == 0 else {}
    name = f"root1/layer{site}"
    return Fingerprint(
        sequence, key.stage, key.phase, step, 0, name, 0, "float32", (8, site), digest, evidence=evidence
    )


def all_records() -> list[Fingerprint]:
    """Program order: the sites of forward, then the loss, step by step."""
    order = [
        (key, step, site)
        for step in range(STEPS)
        for key in (FORWARD, LOSS)
        for site in range(SITES if key == FORWARD else 1)
    ]
    return [record(sequence, *item) for sequence, item in enumerate(order)]


def entries(key: StreamKey) -> list[StepEntry]:
    found, chain = [], bytes(16)
    for step in range(STEPS):
        chain = blake2b(chain + bytes([step]), digest_size=16).digest()
        found.append(StepEntry(step, step, SITES if key == FORWARD else 1, bytes(16), bytes(16), chain))
    return found


def segments() -> Iterator[tuple[SegmentMeta, bytes, list[tuple[StreamKey, StepEntry]]]]:
    records = all_records()
    for number, start in enumerate(range(0, len(records), PER_SEGMENT)):
        part = records[start : start + PER_SEGMENT]
        data = pack(part)
        first, last = part[0].step, part[-1].step
        meta = SegmentMeta(0, number, "n6.v1", "module", len(part), first, last, zlib.crc32(data), len(data))
        # A step is closed in the segment that holds its last record, which is the loss.
        ended = {item.step for item in part if item.stage == Stage.LOSS}
        yield meta, data, [(key, entries(key)[step]) for key in (FORWARD, LOSS) for step in sorted(ended)]


def seal(**changes: object) -> Seal:
    streams = tuple(
        SealedStream(key, STEPS, sum(e.count for e in entries(key)), entries(key)[-1].chain) for key in (FORWARD, LOSS)
    )
    whole = Seal(0, len(list(segments())), STEPS - 1, STEPS, "window", True, streams)
    return replace(whole, **changes)  # type: ignore[arg-type]


def write(store: Store, skip: int = -1, sealed: Seal | None = None) -> None:
    opened(store)
    for meta, data, closed in segments():
        if meta.number != skip:
            store.put_segment("run-1", 1, meta, data, closed)
    store.put_seal("run-1", 1, sealed or seal())


class TestReading:
    def test_the_records_of_each_step(self, store: Store) -> None:
        write(store)
        run: RunReader = StoredRun(store, "run-1")
        assert (run.scheme, run.level) == ("n6.v1", "module")
        assert run.streams() == {FORWARD: STEPS, LOSS: STEPS}
        assert run.seals() == {0: seal()}
        for key in (FORWARD, LOSS):
            assert run.entries(key, 0, 1000) == entries(key)
            for step in (0, 3, 11, STEPS - 1):
                want = [item for item in all_records() if item.step == step and item.stage == key.stage]
                assert run.records(key, step) == want
        assert run.records(FORWARD, STEPS) == run.records(StreamKey(0, Stage.LOSS, Phase.EVAL), 0) == []

    def test_a_small_cache_gives_the_same(self, store: Store) -> None:
        write(store)
        run, tiny = StoredRun(store, "run-1"), StoredRun(store, "run-1", cache_bytes_max=1)
        assert [tiny.records(FORWARD, step) for step in range(STEPS)] == [
            run.records(FORWARD, step) for step in range(STEPS)
        ]

    def test_only_segments_with_the_step_are_read(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        write(store)
        read: list[int] = []
        real = store.segment_columns
        monkeypatch.setattr(store, "segment_columns", lambda run, rank, n: (read.extend(n), real(run, rank, n))[1])
        StoredRun(store, "run-1").records(FORWARD, 11)
        at = [item.step for item in all_records()].index(11)
        assert read == sorted({at // PER_SEGMENT, (at + SITES) // PER_SEGMENT})

    def test_an_unknown_run(self, store: Store) -> None:
        with pytest.raises(StoreError, match="no run has the id nobody"):
            StoredRun(store, "nobody")

    def test_a_run_that_sent_nothing(self, store: Store) -> None:
        store.put_audit(an_audit(a_run()))
        run = StoredRun(store, "run-1")
        assert (run.scheme, run.level, run.streams(), run.seals()) == ("", "", {}, {})


class TestWhatExpands:
    """Segments that were stored before anybody looked at how far they expand: a reader refuses them too."""

    @pytest.mark.parametrize("tag", [b"\x0a\x00", b"\x5a\x00", b"\x18\x00", b"\x0a\x01\xff"])
    @pytest.mark.parametrize("size", [1 << 20, 15 << 20])
    def test_a_hostile_segment(self, store: Store, tag: bytes, size: int) -> None:
        opened(store)
        data = zlib.compress(tag * (size // len(tag)), 9)
        meta = SegmentMeta(0, 0, "n6.v1", "module", 2, 0, 0, zlib.crc32(data), len(data))
        store.put_segment("run-1", 1, meta, data, [(LOSS, StepEntry(0, 0, 2, bytes(16), bytes(16), bytes(16)))])
        with pytest.raises(DamagedError, match=r"inflates beyond|elements"):
            StoredRun(store, "run-1").records(LOSS, 0)

    def test_readers_share_one_cache_and_leave_nothing_in_it(self, store: Store) -> None:
        write(store)
        before = reader._SHARED._bytes
        runs = [StoredRun(store, "run-1") for _ in range(3)]
        one = 0
        for number, run in enumerate(runs, start=1):
            run.records(FORWARD, 3)
            one = one or reader._SHARED._bytes - before
            assert reader._SHARED._bytes - before == number * one > 0
        del run
        runs.clear()
        gc.collect()
        assert reader._SHARED._bytes == before

    def test_the_cache_is_bounded_over_all_runs(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        write(store)
        monkeypatch.setattr(reader, "_SHARED", reader._Cache(1))
        runs = [StoredRun(store, "run-1") for _ in range(4)]
        assert all(run.records(FORWARD, 3) == runs[0].records(FORWARD, 3) for run in runs)
        assert len(reader._SHARED._kept) == 1


class TestDamage:
    def test_a_lost_segment(self, store: Store) -> None:
        opened(store)
        for meta, data, closed in segments():
            if meta.number == 2:
                meta = replace(meta, number=99)  # its entries arrive, its records do not
                data = pack([])
                meta = replace(meta, crc32=zlib.crc32(data), bytes=len(data), record_count=0)
            store.put_segment("run-1", 1, meta, data, closed)
        with pytest.raises(DamagedError, match="its index has 7"):
            StoredRun(store, "run-1").records(FORWARD, 9)

    def test_bytes_that_do_not_match_their_checksum(self, store: Store) -> None:
        opened(store)
        for meta, data, closed in segments():
            flipped = data[:50] + bytes([data[50] ^ 4]) + data[51:]
            store.put_segment("run-1", 1, meta, flipped if meta.number == 1 else data, closed)
        store.put_seal("run-1", 1, seal())
        run = StoredRun(store, "run-1")
        assert len(run.records(FORWARD, 0)) == SITES
        with pytest.raises(DamagedError, match="rank 0, segment 1: the stored bytes do not match"):
            run.records(FORWARD, 5)
        assert verify(store, "run-1") == []
        assert verify(store, "run-1", blobs=True) == ["rank 0: segment 1: the stored bytes do not match their checksum"]

    def test_segments_of_two_schemes(self, store: Store) -> None:
        opened(store)
        for meta, data, closed in segments():
            scheme = "n6.v2" if meta.number == 3 else "n6.v1"
            store.put_segment("run-1", 1, replace(meta, scheme=scheme), data, closed)
        run = StoredRun(store, "run-1")
        with pytest.raises(DamagedError, match=r"n6.v1, n6.v2"):
            assert run.scheme


class TestVerify:
    def test_a_sound_run(self, store: Store) -> None:
        write(store)
        assert verify(store, "run-1", blobs=True) == []

    def test_no_seal(self, store: Store) -> None:
        opened(store)
        assert verify(store, "run-1") == ["no rank has sent a seal"]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"complete": False}, "rank 0: the probe's own counts and chains did not match"),
            ({"segments": 9}, "rank 0: 4 of 9 segments are missing: 5, 6, 7, 8"),
            ({"segments": 2**32 - 1}, "rank 0: 4294967290 of 4294967295 segments are missing: 5, 6, 7, 8, 9, …"),
            ({"segments": 4}, "rank 0: there are segments beyond the 4 sealed ones: 4"),
            ({"streams": seal().streams[:1]}, "rank 0: loss/train has 20 steps, but the seal has 0"),
            ({"streams": (*seal().streams, SealedStream(StreamKey(0, Stage.UPDATE), 1, 1, bytes(16)))}, "rank 0: update/train has 0 steps"),
            ({"streams": tuple(replace(s, chain=bytes(16)) for s in seal().streams)}, "rank 0: forward/train ends with another chain"),
            ({"streams": tuple(replace(s, count=s.count + 1) for s in seal().streams)}, "rank 0: 160 records arrived, but the seal"),
        ],
    )  # fmt: skip
    def test_a_seal_that_does_not_match(self, store: Store, changes: dict[str, object], said: str) -> None:
        write(store, sealed=seal(**changes))
        problems = verify(store, "run-1")
        assert problems and problems[0].startswith(said)

    def test_a_missing_segment(self, store: Store) -> None:
        write(store, skip=2)
        problems = verify(store, "run-1")
        assert problems[0] == "rank 0: 1 of 5 segments are missing: 2"
        assert any("forward/train has" in text for text in problems)

    def test_a_rank_without_a_seal(self, store: Store) -> None:
        write(store)
        meta, data, _ = next(segments())
        other = StreamKey(1, Stage.LOSS)
        store.put_segment("run-1", 1, replace(meta, rank=1), data, [(other, entries(LOSS)[0])])
        assert verify(store, "run-1") == ["rank 1 sent records but no seal"]
