"""A growing spool, sent as it grows: whole records once, in order, whatever the coordinator does meanwhile."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from detctl_cli.errors import CliError
from detctl_cli.recordings import following
from detctl_cli.recordings.send import RunHeld
from detctl_proto.recordings.recording_log import MAGIC
from detctl_proto.v1 import agents_pb2, records_pb2


class Coordinator:
    """Acknowledges what it takes; `trouble` is raised instead, where there is any. Reports `changed` of each call."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.trouble: CliError | None = None
        self.refuse = ""
        self.calls = 0
        self.changed = threading.Condition()

    def ingest(self, requests: Iterable[agents_pb2.IngestRequest]) -> Iterator[agents_pb2.IngestReply]:
        with self.changed:
            self.calls += 1
            self.changed.notify_all()
            if self.trouble is not None:
                raise self.trouble
            for request in requests:
                assert (request.segment.run_id, request.segment.attempt) == ("r1", 2)
                if not self.refuse:
                    self.numbers.append(request.segment.number)
                yield agents_pb2.IngestReply(refused=self.refuse)

    def until(self, condition: Callable[[], Any]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 20)


def follow(coordinator: Coordinator, folder: Path) -> following.Following:
    return following.Following(coordinator, folder, RunHeld("r1", 2, "s3cret"))  # type: ignore[arg-type]  # it has the one call that is made


def record(number: int) -> bytes:
    payload = agents_pb2.IngestRequest(segment=records_pb2.Segment(run_id="own", number=number)).SerializeToString()
    head = struct.pack("<I", len(payload))
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(following, "EVERY_S", 0.01)
    monkeypatch.setattr(following, "BATCH", 3)
    return tmp_path / "spool" / "log"


def append(log: Path, data: bytes) -> None:
    log.parent.mkdir(exist_ok=True)
    with open(log, "ab") as stream:
        stream.write(data)


def test_records_are_sent_once_and_in_order_as_they_come(log: Path, tmp_path: Path) -> None:
    coordinator = Coordinator()
    with follow(coordinator, tmp_path) as sender:
        append(log, MAGIC[:3])  # the recorder is at its very start
        append(log, MAGIC[3:] + b"".join(map(record, range(7))))
        coordinator.until(lambda: len(coordinator.numbers) == 7)
        whole = record(7)
        append(log, whole[:10])  # half written
        calls = coordinator.calls
        append(log, whole[10:] + record(8))
        coordinator.until(lambda: len(coordinator.numbers) == 9)
    assert coordinator.numbers == list(range(9))
    assert sender.sent == 9
    assert coordinator.calls > calls


def test_a_coordinator_that_does_not_answer_is_tried_again_and_reported_once(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator = Coordinator()
    coordinator.trouble = CliError("unreachable", "nobody there")
    append(log, MAGIC + record(0))
    with follow(coordinator, tmp_path) as sender:
        coordinator.until(lambda: coordinator.calls > 3)
        assert sender.sent == 0
        coordinator.trouble = None
        coordinator.until(lambda: coordinator.numbers == [0])
    assert capsys.readouterr().err.count("nobody there") == 1


def test_a_run_that_is_no_longer_ours_is_sent_no_more_and_trains_on(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator = Coordinator()
    coordinator.refuse = "a newer attempt"
    append(log, MAGIC + record(0))
    with follow(coordinator, tmp_path) as sender:
        coordinator.until(lambda: coordinator.calls == 1)
        sender._thread.join(20)
        append(log, record(1))
    assert (coordinator.calls, sender.sent) == (1, 0)
    assert "the training continues" in capsys.readouterr().err
