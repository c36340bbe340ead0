"""Recorded folders: what is read, what is refused, who is a twin of whom, and what is sent."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
from detctl_cli.config import Config
from detctl_cli.errors import CliError
from detctl_cli.exits import Exit
from detctl_cli.recordings.capture import judge
from detctl_cli.recordings.folder import Recording, open_recording
from detctl_cli.recordings.labels import labels_of
from detctl_cli.recordings.send import compare_recordings, with_folders
from detctl_cli.service.client import Coordinator
from detctl_proto.recordings.recording_log import MAGIC
from detctl_proto.security.redaction import RecordingKey
from detctl_proto.v1 import agents_pb2, records_pb2


def framed(payload):
    length = struct.pack("<I", len(payload))
    return length + struct.pack("<I", zlib.crc32(payload, zlib.crc32(length))) + payload


def payloads():
    segment = records_pb2.Segment(run_id="old", attempt=3, rank=0, number=0, columns=b"x" * 50)
    seal = records_pb2.Seal(run_id="old", attempt=3, rank=0, segments=1)
    yield agents_pb2.IngestRequest(segment=segment).SerializeToString()
    yield agents_pb2.IngestRequest(seal=seal).SerializeToString()


@pytest.fixture
def recorded(tmp_path):
    def make(name="check1", manifest=None, **changes):
        folder = tmp_path / name
        (folder / "spool").mkdir(parents=True)
        log = MAGIC + b"".join(map(framed, payloads()))
        (folder / "spool/log").write_bytes(log)
        run = {"schema": "detctl.run/v1", "machine": "gpu1", "state": "ended", "end": "exit", "exit_code": 0, "ranks": 1,
               "spool_records": 2, "spool_bytes": len(log), "command": ["python", "t.py"]}  # fmt: skip
        (folder / "run.json").write_text(json.dumps(run | changes))
        (folder / "manifest.json").write_text(json.dumps(manifest or {}))
        (folder / "stderr").write_text("last words\n")
        return folder

    return make


def test_an_intact_folder(recorded):
    recording = open_recording(recorded())
    assert (recording.intact, recording.damage) == (2, "")
    assert list(recording.payloads()) == list(payloads())
    assert "last words" in recording.output_tail


def test_every_cut_and_every_flip_is_found(recorded):
    folder = recorded()
    log = folder / "spool/log"
    intact = log.read_bytes()
    for size in range(len(intact)):
        log.write_bytes(intact[:size])
        assert open_recording(folder).damage, size
    for at in range(len(intact)):
        log.write_bytes(intact[:at] + bytes([intact[at] ^ 0x10]) + intact[at + 1 :])
        assert open_recording(folder).damage, at
    log.unlink()
    assert open_recording(folder).damage


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("run.json", None, Exit.TROUBLE),
        ("run.json", "{", Exit.UNVERIFIED),
        ("run.json", "[]", Exit.UNVERIFIED),
        ("run.json", '{"schema": "detctl.run/v9"}', Exit.TROUBLE),
        ("run.json", '{"schema": "detctl.run/v1", "state": "running"}', Exit.UNVERIFIED),
        ("manifest.json", "nonsense", Exit.UNVERIFIED),
    ],
)
def test_folders_that_cannot_be_used(recorded, name, text, code):
    folder = recorded()
    (folder / name).unlink() if text is None else (folder / name).write_text(text)
    with pytest.raises(CliError) as caught:
        open_recording(folder)
    assert caught.value.exit_code is code
    assert str(folder) in caught.value.message


def recording(name, machine="gpu1", **manifest):
    return Recording(Path(name), {"machine": machine, "command": ["python", "t.py"]}, manifest)


def test_recordings_of_one_machine_that_agree_are_twins():
    volatile = recording("c", variables={"SHLVL": "3", "PWD": "/x"}, python={"version": "3.11"})
    plain = recording("a", variables={"SHLVL": "1", "PWD": "/y"}, python={"version": "3.11"})
    assert labels_of([plain, volatile]) == ["gpu1/default/base/twin-0", "gpu1/default/base/twin-1"]


def test_values_that_are_not_recorded_separate_configurations_only_if_they_are_known_to_differ():
    here, there = RecordingKey(b"h" * 32), RecordingKey(b"t" * 32)

    def labels(left, right):
        two = [recording(name, variables={"MODE": value}) for name, value in (("a", left), ("b", right))]
        return [label.split("/")[1] for label in labels_of(two)]

    assert labels(here.mark("x", "MODE"), here.mark("x", "MODE")) == ["default", "default"]
    assert labels(here.mark("x", "MODE"), here.mark("y", "MODE")) == ["a", "b"]
    assert labels(here.mark("x", "MODE"), there.mark("y", "MODE")) == ["default", "default"]
    assert labels("x", there.mark("y", "MODE")) == ["default", "default"], "an earlier version recorded the value"


def test_the_tail_of_what_a_training_printed_is_sent_without_credentials(recorded):
    folder = recorded()
    (folder / "stderr").write_text("cannot reach postgres://u:hunter2@db/app\npassword: hunter2\n")
    tail = open_recording(folder).output_tail
    assert "cannot reach postgres://[redacted]@db/app" in tail and "hunter2" not in tail


def test_recordings_in_other_environments_are_configurations_named_by_their_folders():
    two = [recording("one", variables={"OMP_NUM_THREADS": "1"}), recording("x/one", variables={"OMP_NUM_THREADS": "2"})]
    assert labels_of(two) == ["gpu1/one/base/twin-0", "gpu1/one-2/base/twin-0"]
    assert labels_of([recording("A b!"), recording("B", machine="Gpu2")]) == [
        "gpu1/default/base/twin-0",
        "gpu2/default/base/twin-0",
    ]


def test_segments_are_sent_under_the_new_id(recorded, served):
    recordings = [open_recording(recorded("check1")), open_recording(recorded("check2"))]
    with Coordinator(Config(served.address, Path("/dev/null"))) as coordinator:
        assert json.loads(compare_recordings(coordinator, recordings)) == served.fake.verdict
    sent = [request for name, request in served.fake.requests if name == "Ingest"]
    assert [(part.segment.run_id or part.seal.run_id) for part in sent] == ["import-1.000"] * 2 + ["import-2.000"] * 2
    assert {part.segment.attempt or part.seal.attempt for part in sent} == {1}
    assert sent[0].segment.columns == b"x" * 50
    assert served.fake.request("FinishImport").output_tail.endswith("last words\n")
    assert list(served.fake.request("Compare").run_ids) == ["import-1.000", "import-2.000"]


def test_refused_data_are_unverified(recorded, served):
    served.fake.refuse_ingest = "crc"
    with Coordinator(Config(served.address, Path("/dev/null"))) as coordinator, pytest.raises(CliError) as caught:
        compare_recordings(coordinator, [open_recording(recorded())])
    assert caught.value.exit_code is Exit.UNVERIFIED


def test_damage_is_never_identical(recorded):
    folder = recorded()
    (folder / "spool/log").write_bytes(MAGIC)
    verdict = with_folders({"outcome": "identical", "unverified_because": []}, [open_recording(folder)])
    assert verdict["outcome"] == "unverified"
    assert verdict["folders"] == {"gpu1/default/base/twin-0": str(folder)}
    assert "the file is damaged" in verdict["unverified_because"][0]


def test_reasons_name_folders():
    reason = "gpu1/default/base/twin-0: failed: x; see `detctl show import-1.000`"
    verdict = with_folders({"outcome": "unverified", "unverified_because": [reason]}, [recording("check1")])
    assert verdict["unverified_because"] == ["check1: failed: x"]


@pytest.mark.parametrize(
    ("code", "run", "expected"),
    [
        (0, {"state": "ended", "ranks": 1, "records": 5}, Exit.IDENTICAL),
        (0, {"state": "ended", "ranks": 0}, Exit.UNVERIFIED),
        (0, {}, Exit.TROUBLE),
        (0, {"state": "running"}, Exit.TROUBLE),
        (3, {"state": "ended", "end": "exit", "exit_code": 1, "ranks": 1}, Exit.UNVERIFIED),
        (2, {"state": "ended"}, Exit.TROUBLE),
        (130, {"state": "ended"}, Exit.INTERRUPTED),
        (-9, {"state": "ended", "ranks": 1, "records": 5}, Exit.TROUBLE),
    ],
)
def test_what_counts_as_captured(code, run, expected):
    assert judge(code, run).exit_code is expected
