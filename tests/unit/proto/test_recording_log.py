"""The log of a recording: what was written is read, up to the first record that is damaged."""

from __future__ import annotations

import io

import pytest
from detctl_proto.limits import MESSAGE_BYTES_MAX
from detctl_proto.recordings.recording_log import MAGIC, pack_record, read_records

PAYLOADS = (b"", b"one", b"x" * 1000)
LOG = MAGIC + b"".join(map(pack_record, PAYLOADS))


def test_what_was_written_is_read() -> None:
    found = list(read_records(io.BytesIO(LOG)))
    assert [payload for payload, _ in found] == list(PAYLOADS)
    assert found[-1][1] == len(LOG)
    assert list(read_records(io.BytesIO(LOG), found[0][1])) == found[1:]


@pytest.mark.parametrize("at", [len(MAGIC), len(MAGIC) + 4, len(LOG) - 1])
def test_a_flipped_byte_ends_the_log(at: int) -> None:
    damaged = LOG[:at] + bytes([LOG[at] ^ 1]) + LOG[at + 1 :]
    assert len(list(read_records(io.BytesIO(damaged)))) < len(PAYLOADS)


@pytest.mark.parametrize("size", [len(LOG) - 1, len(LOG) - 1000, len(LOG) - 1007])
def test_a_cut_record_is_not_read(size: int) -> None:
    assert len(list(read_records(io.BytesIO(LOG[:size])))) == 2


def test_other_files_hold_no_records() -> None:
    assert list(read_records(io.BytesIO(b"DETCTL\x00\x02" + LOG[8:]))) == list(read_records(io.BytesIO(b""))) == []


def test_a_payload_that_no_message_may_have() -> None:
    with pytest.raises(ValueError, match="at most"):
        pack_record(bytes(MESSAGE_BYTES_MAX + 1))
