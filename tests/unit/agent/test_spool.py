"""Damage of any kind to a spool is found: what is read back is a prefix of what was written, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from detctl_agent.errors import DiskFullError
from detctl_agent.state import spool
from detctl_proto.recordings.recording_log import MAGIC
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PAYLOADS = [b"", b"a", b"segment" * 10, bytes(64), os.urandom(200), b"\xff" * 33]


def write(folder: Path, payloads: list[bytes]) -> bytes:
    writer = spool.SpoolWriter(folder)
    for payload in payloads:
        writer.append(payload)
        writer.sync()
    writer.close()
    return (folder / spool.LOG).read_bytes()


def read(folder: Path) -> list[bytes]:
    return [record.payload for record in spool.read(folder)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    content = write(tmp_path, PAYLOADS)
    assert read(tmp_path) == PAYLOADS
    assert spool.check(tmp_path) == spool.SpoolCheck(len(PAYLOADS), len(content), 0)


def test_reading_goes_on_from_a_position(tmp_path: Path) -> None:
    write(tmp_path, PAYLOADS)
    records = list(spool.read(tmp_path))
    rest = list(spool.read(tmp_path, records[1].end))
    assert [record.payload for record in rest] == PAYLOADS[2:]
    assert [record.payload for record in spool.read(tmp_path, 0, records[1].end)] == PAYLOADS[:2]


def test_cut_at_every_byte(tmp_path: Path) -> None:
    content = write(tmp_path, PAYLOADS)
    ends = [record.end for record in spool.read(tmp_path)]
    for length in range(len(content)):
        (tmp_path / spool.LOG).write_bytes(content[:length])
        whole = sum(end <= length for end in ends)
        assert read(tmp_path) == PAYLOADS[:whole]
        found = spool.check(tmp_path)
        assert found.records == whole
        assert found.good_bytes + found.dropped_bytes == length


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    content = write(tmp_path, PAYLOADS)
    ends = [record.end for record in spool.read(tmp_path)]
    for position in range(len(content)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= mask
            (tmp_path / spool.LOG).write_bytes(damaged)
            before = sum(end <= position for end in ends) if position >= len(MAGIC) else 0
            assert read(tmp_path) == PAYLOADS[:before]
            assert spool.check(tmp_path).dropped_bytes > 0


def test_a_tail_of_zeros_is_no_record(tmp_path: Path) -> None:
    content = write(tmp_path, PAYLOADS)
    (tmp_path / spool.LOG).write_bytes(content + bytes(4096))
    assert read(tmp_path) == PAYLOADS
    assert spool.check(tmp_path).dropped_bytes == 4096


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payloads=st.lists(st.binary(max_size=300), max_size=8), junk=st.binary(max_size=64), at=st.integers(0, 3000))
def test_junk_anywhere_gives_a_prefix(tmp_path: Path, payloads: list[bytes], junk: bytes, at: int) -> None:
    content = write(tmp_path, payloads)
    at %= len(content) + 1
    (tmp_path / spool.LOG).write_bytes(content[:at] + junk + content[at + len(junk) :])
    found = read(tmp_path)
    assert found == payloads[: len(found)]


def test_only_what_was_synced_counts(tmp_path: Path) -> None:
    writer = spool.SpoolWriter(tmp_path)
    writer.append(b"one")
    assert (writer.records, writer.synced_bytes) == (0, len(MAGIC))
    writer.sync()
    assert (writer.records, writer.synced_bytes) == (1, (tmp_path / spool.LOG).stat().st_size)
    writer.append(b"two")
    writer.close()
    assert read(tmp_path) == [b"one"]


def test_a_full_disk_leaves_a_sound_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = spool.SpoolWriter(tmp_path)
    writer.append(b"one")
    writer.sync()
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[:5])  # a part still went in
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    writer.append(b"two" * 100)
    with pytest.raises(DiskFullError, match="no space left"):
        writer.sync()
    monkeypatch.undo()
    writer.close()
    assert read(tmp_path) == [b"one"]
    assert spool.check(tmp_path).dropped_bytes == 0


def test_the_acknowledged_position_survives(tmp_path: Path) -> None:
    assert spool.read_acknowledged(tmp_path) == 0
    spool.write_acknowledged(tmp_path, 123)
    assert spool.read_acknowledged(tmp_path) == 123
    (tmp_path / spool.ACKNOWLEDGED).write_text("what")
    assert spool.read_acknowledged(tmp_path) == 0


def test_a_spool_takes_no_more_than_its_limit(tmp_path: Path) -> None:
    writer = spool.SpoolWriter(tmp_path, bytes_max=100)
    writer.append(b"x" * 200)
    assert writer.unsynced_bytes > 200
    with pytest.raises(DiskFullError, match="shorten the window"):
        writer.append(b"y")
    writer.sync()
    assert writer.unsynced_bytes == 0 and [one.payload for one in spool.read(tmp_path)] == [b"x" * 200]
