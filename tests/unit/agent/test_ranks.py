"""From frames to segments and seals: what a rank is, when it is complete, and what the segments hold."""

from __future__ import annotations

import json
import zlib
from hashlib import blake2b
from typing import Any

import pytest
from detctl_agent.recording.process import Process
from detctl_agent.recording.ranks import Message, Ranks
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.transport import chain, frames
from detctl_probe.transport.frames import FACTS, HELLO, NOTE, RECORDS, SEAL, STEP, ProtocolError
from detctl_proto.v1 import records_pb2


class Probe:
    """What one process says, with the probe's own chains."""

    def __init__(
        self, ranks: Ranks, *, pid: int = 1, rank: int | None = None, world: int | None = None, role: str = "main",
        local_world: int | None = None,
    ):  # fmt: skip
        self.ranks, self.process = ranks, ranks.connect()
        self.rank, self.world = rank, world
        self.sequence = self.step = 0
        self.streams: dict[tuple[int, int], dict[str, Any]] = {}
        self.folds: dict[tuple[int, int], chain.StepFold] = {}
        self.said: list[Message] = []
        hello = {
            "v": 1,
            "scheme": "n6.v1",
            "pid": pid,
            "rank": rank,
            "world_size": world,
            "role": role,
            "local_world_size": local_world,
        }
        self.say(HELLO, frames.dump_json(hello))

    def say(self, kind: int, payload: bytes) -> list[Message]:
        messages = self.ranks.frame(self.process, kind, payload)
        self.said += messages
        return messages

    def record(self, stage: int, site: str, text: str = "x", *, phase: int = 0) -> None:
        value = Fingerprint(blake2b(text.encode(), digest_size=16).digest(), "float32", (2,))
        self.say(RECORDS, frames.pack_record(self.sequence, stage, phase, self.step, 0, 0, site, value))
        self.sequence += 1
        fold = self.folds.setdefault((stage, phase), chain.StepFold())
        fold.take(chain.record_hash(site, 0, value.dtype, value.shape, value.digest, value.order_blind))

    def end_step(self) -> None:
        self.close()
        if self.step == 0:
            self.say(FACTS, frames.dump_json({"rank": self.rank, "world_size": self.world, "torch": "2.15.0"}))
        self.say(STEP, self.step.to_bytes(4, "little") + b"\0")
        self.step += 1

    def close(self) -> None:
        for key, fold in self.folds.items():
            stream = self.streams.setdefault(key, {"steps": 0, "count": 0, "chain": chain.ZERO})
            stream["chain"] = chain.chain(stream["chain"], self.step, fold.digest)
            stream["steps"] += 1
            stream["count"] += fold.count
        self.folds = {}

    def seal(self, reason: str = "window", **changes: Any) -> records_pb2.Seal | None:
        self.close()
        streams = {
            f"{frames.STAGES[stage]}/{frames.PHASES[phase]}": {**value, "chain": value["chain"].hex()}
            for (stage, phase), value in self.streams.items()
        }
        content = {
            "reason": reason, "rank": self.rank, "world_size": self.world, "sequence": self.sequence,
            "steps_finished": self.step, "last_step": max(0, self.step - 1), "streams": streams, "training": True,
            **changes,
        }  # fmt: skip
        messages = self.say(SEAL, frames.dump_json(content))
        return messages[-1].seal if messages else None

    def train(self, steps: int, width: int = 3) -> None:
        for _ in range(steps):
            for stage in (0, 1, 4, 8, 12):
                for number in range(width):
                    self.record(stage, f"layer{number}", f"{stage} {self.step} {number}")
            self.end_step()

    @property
    def segments(self) -> list[records_pb2.Segment]:
        return [message.segment for message in self.said if message.WhichOneof("kind") == "segment"]


@pytest.fixture
def ranks() -> Ranks:
    return Ranks("r1", 1, "module", lambda: 0.0)


def test_a_clean_rank_is_complete(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(4)
    seal = probe.seal()
    assert seal is not None
    assert seal.complete
    assert (seal.rank, seal.reason, seal.steps_finished, seal.last_step) == (0, "window", 4, 3)
    assert seal.segments == len(probe.segments)
    assert sum(segment.record_count for segment in probe.segments) == probe.sequence
    assert ranks.over == "window"
    assert ranks.last_step == 3


def test_the_index_is_the_probes_chain(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(3)
    seal = probe.seal()
    assert seal is not None
    entries = [entry for segment in probe.segments for entry in segment.closed]
    for stream in seal.streams:
        mine = [entry for entry in entries if (entry.stage, entry.phase) == (stream.stage, stream.phase)]
        assert [entry.ordinal for entry in mine] == list(range(stream.steps))
        assert mine[-1].chain == stream.chain == probe.streams[stream.stage, stream.phase]["chain"]
        assert sum(entry.count for entry in mine) == stream.count


def test_columns_hold_what_was_recorded(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(2, width=2)
    probe.seal()
    rows = []
    for segment in probe.segments:
        assert zlib.crc32(segment.columns) == segment.crc32
        columns = records_pb2.RecordColumns.FromString(zlib.decompress(segment.columns))
        sequence = step = 0
        for number in range(segment.record_count):
            sequence += columns.sequence_delta[number]
            step += columns.step_delta[number]
            digest = columns.digests[16 * number : 16 * number + 16]
            rows.append((sequence, columns.stage[number], step, columns.names[columns.site[number]], digest))
            assert columns.names[columns.dtype[number]] == "float32"
            assert list(columns.shapes[columns.shape[number]].sizes) == [2]
    expected = [
        (10 * step + 2 * position + number, stage, step, f"layer{number}")
        for step in range(2)
        for position, stage in enumerate((0, 1, 4, 8, 12))
        for number in range(2)
    ]
    assert [row[:4] for row in rows] == expected
    for (_, stage, step, site, digest), _ in zip(rows, expected, strict=True):
        assert digest == blake2b(f"{stage} {step} {site[-1]}".encode(), digest_size=16).digest()


def test_nothing_is_sent_of_a_process_that_does_not_train(ranks: Ranks) -> None:
    probe = Probe(ranks, role="launcher")
    probe.record(0, "argv")
    probe.record(1, "listing/{data}")
    assert probe.seal("exit", training=False) is None
    assert probe.said == []
    assert ranks.count == 0
    assert ranks.over == ""


def test_ranks_come_from_torch_distributed(ranks: Ranks) -> None:
    probes = [Probe(ranks, pid=number, world=3) for number in range(3)]
    for number, probe in zip((2, 0, 1), probes, strict=True):
        probe.rank = number
        probe.train(2)
    assert sorted({segment.rank for probe in probes for segment in probe.segments}) == []  # not flushed yet
    assert sorted({message.segment.rank for message in ranks.flush()}) == [0, 1, 2]
    assert [probe.process.rank for probe in probes] == [2, 0, 1]
    probes[0].seal()
    probes[1].seal()
    assert ranks.over == ""
    probes[2].seal()
    assert ranks.over == "window"


def test_a_second_process_of_a_rank_takes_a_number_behind_the_world(ranks: Ranks) -> None:
    first, second = Probe(ranks, rank=0, world=2), Probe(ranks, rank=0, world=2)
    first.train(1)
    second.train(1)
    assert (first.process.rank, second.process.rank) == (0, 2)


def test_the_run_is_not_over_before_the_world_is_there(ranks: Ranks) -> None:
    first = Probe(ranks, rank=0, world=2)
    first.train(2)
    first.seal()
    assert ranks.over == ""


def test_ranks_of_other_nodes_are_counted_and_not_waited_for(ranks: Ranks) -> None:
    for rank in (2, 3):
        probe = Probe(ranks, pid=rank, rank=rank, world=4, local_world=2)
        probe.record(4, "layer")
        probe.end_step()
        assert ranks.over == ""
        probe.seal()
    assert ranks.over == "window"
    assert (ranks.count, ranks.elsewhere) == (2, 2)


def test_a_rank_that_vanished_is_lost(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(2)
    probe.record(8, "layer0")
    seal = ranks.disconnect(probe.process)[-1].seal
    assert (seal.reason, seal.complete) == ("lost", False)
    assert {stream.steps for stream in seal.streams} == {2}  # the half step is no entry
    assert ranks.over == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sequence": 99}, "of 99"),
        ({"streams": {}}, "not in the probe's seal"),
        ({"streams": {"update/eval": {"steps": 1, "count": 1, "chain": "00"}}}, "code/train"),
        ({"steps_finished": 3}, "steps_finished"),
    ],
)
def test_a_seal_that_does_not_match_is_incomplete(ranks: Ranks, changes: dict[str, Any], why: str) -> None:
    probe = Probe(ranks)
    probe.train(2)
    seal = probe.seal(**changes)
    assert seal is not None
    assert not seal.complete
    assert why in json.loads(seal.detail_json)["mismatch"]
    assert ranks.troubles


def test_a_missing_record_is_found_by_number_and_by_chain(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(1)
    probe.sequence += 1  # one never came
    probe.record(8, "layer0")
    seal = probe.seal()
    assert seal is not None
    assert not seal.complete


def test_a_changed_digest_is_found_by_chain(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(1)
    value = Fingerprint(bytes(16), "float32", (2,))
    probe.record(8, "layer0")
    probe.folds[8, 0] = chain.StepFold()
    probe.folds[8, 0].take(chain.record_hash("layer0", 0, value.dtype, value.shape, value.digest))
    seal = probe.seal()
    assert seal is not None
    assert not seal.complete
    assert "chain" in json.loads(seal.detail_json)["mismatch"]


def test_frames_out_of_place_are_errors(ranks: Ranks) -> None:
    process: Process = ranks.connect()
    with pytest.raises(ProtocolError):
        ranks.frame(process, RECORDS, b"")
    ranks.frame(process, HELLO, b"{}")
    with pytest.raises(ProtocolError):
        ranks.frame(process, STEP, b"\0")
    with pytest.raises(ProtocolError):
        ranks.frame(process, NOTE, b"[]")
    assert ranks.frame(process, 77, b"of a newer probe") == []


def test_another_digest_scheme_is_never_complete(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.say(HELLO, b'{"v": 1, "scheme": "n7.v1"}')
    probe.train(1)
    seal = probe.seal()
    assert seal is not None
    assert not seal.complete


def test_notes_of_helpers_travel_with_the_first_seal(ranks: Ranks) -> None:
    helper, probe = Probe(ranks, pid=2, role="launcher"), Probe(ranks)
    helper.say(NOTE, b'{"kind": "seed", "text": "from the launcher"}')
    probe.train(1)
    probe.say(NOTE, b'{"kind": "seed", "text": "mine"}')
    seal = probe.seal()
    assert seal is not None
    detail = json.loads(seal.detail_json)
    assert [note["text"] for note in detail["notes"]] == ["mine", "from the launcher"]
    assert [other["pid"] for other in detail["non_training"]] == [2]
    assert detail["facts"]["torch"] == "2.15.0"


def test_segments_stay_under_their_limits(ranks: Ranks) -> None:
    probe = Probe(ranks)
    probe.train(1)
    payload = b"".join(
        frames.pack_record(
            probe.sequence + number, 8, 0, 1, 0, number, "layer", Fingerprint(bytes(16), "float32", (2,))
        )
        for number in range(10_000)
    )
    probe.say(RECORDS, payload)
    assert [segment.record_count for segment in probe.segments] == [4096, 4096]
    assert [segment.number for segment in probe.segments] == [0, 1]


def test_a_name_that_is_too_long_keeps_its_hash(ranks: Ranks) -> None:
    probe = Probe(ranks)
    for ending in "ab":
        probe.record(8, "x" * 600 + ending)
    probe.end_step()
    seal = probe.seal()
    assert seal is not None
    assert seal.complete
    columns = records_pb2.RecordColumns.FromString(zlib.decompress(probe.segments[0].columns))
    sites = [columns.names[at] for at in columns.site]
    assert len(set(sites)) == 2
    assert all(len(site.encode()) <= 512 for site in sites)
