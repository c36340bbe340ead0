"""Frames: what goes in comes out, and nothing that a hostile process sends does more than raise ValueError."""

from __future__ import annotations

import struct

import pytest
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.transport import frames
from hypothesis import given
from hypothesis import strategies as st

from tests.support.probe_records import Record, load_json, unpack_records

digests = st.binary(min_size=16, max_size=16)
names = st.text(max_size=40)
prints = st.builds(
    Fingerprint,
    digest=digests,
    dtype=names,
    shape=st.lists(st.integers(0, 2**64 - 1), max_size=5).map(tuple),
    order_blind=st.none() | digests,
    rows=st.none() | st.lists(digests, max_size=5).map(tuple),
    sketch=st.none() | st.lists(st.floats(allow_nan=False), min_size=38, max_size=38).map(tuple),
)
heads = st.tuples(
    st.integers(0, 2**64 - 1),
    st.integers(0, len(frames.STAGES) - 1),
    st.integers(0, 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
evidences = st.none() | st.dictionaries(names, st.integers() | names | st.none(), min_size=1, max_size=3)
Seen = tuple[tuple[int, int, int, int, int, int], str, Fingerprint, "dict[str, object] | None"]
seen_things = st.tuples(heads, names, prints, evidences)


def pack(thing: Seen) -> bytes:
    head, site, value, evidence = thing
    return frames.pack_record(*head, site, value, evidence)


def unpack(payload: bytes) -> tuple[list[Record], str]:
    """(records, "") or ([], why not): any other exception is a failure of the decoder."""
    try:
        return unpack_records(payload), ""
    except ValueError as error:
        return [], str(error)


@given(st.lists(seen_things, max_size=4))
def test_records_come_back_as_they_were(things: list[Seen]) -> None:
    records = unpack_records(b"".join(map(pack, things)))
    assert len(records) == len(things)
    for record, ((sequence, stage, phase, step, micro, occurrence), site, value, evidence) in zip(
        records, things, strict=True
    ):
        assert record[:6] == (sequence, frames.STAGES[stage], frames.PHASES[phase], step, micro, occurrence)
        assert (record.site, record.dtype, record.shape, record.digest) == (
            site,
            value.dtype,
            value.shape,
            value.digest,
        )
        assert (record.order_blind, record.rows, record.sketch) == (value.order_blind, value.rows, value.sketch)
        assert record.evidence == evidence


@given(st.lists(seen_things, min_size=1, max_size=3), st.data())
def test_a_cut_payload_is_an_error_or_fewer_records(things: list[Seen], data: st.DataObject) -> None:
    whole = b"".join(map(pack, things))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    records, error = unpack(cut)
    assert len(records) < len(things)
    assert "\n" not in error


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_a_value_error(payload: bytes) -> None:
    records, error = unpack(payload)
    assert not (records and error)
    assert "\n" not in error


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=6), st.integers(1, 7))
def test_frames_survive_any_cut_of_the_stream(sent: list[tuple[int, bytes]], chunk: int) -> None:
    stream = b"".join(frames.frame(kind, payload) for kind, payload in sent)
    reader = frames.FrameReader()
    received = []
    for at in range(0, len(stream), chunk):
        received += reader.feed(stream[at : at + chunk])
    assert received == sent
    assert reader.left == 0


@pytest.mark.parametrize("size", [0, frames.FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_a_frame_of_no_or_excessive_length_is_refused_before_it_is_read(size: int) -> None:
    with pytest.raises(ValueError, match="a frame of"):
        list(frames.FrameReader().feed(struct.pack("<IB", size, 2)))


def test_an_unfinished_frame_is_counted() -> None:
    reader = frames.FrameReader()
    assert list(reader.feed(frames.frame(frames.NOTE, b"{}")[:-1])) == []
    assert reader.left == 6


@pytest.mark.parametrize("payload", [b"", b"[1]", b"{", b"\xff\xfe", b"1", b"[" * 100_000])
def test_json_that_is_no_object_is_refused_in_one_line(payload: bytes) -> None:
    with pytest.raises(ValueError, match="a frame"):
        load_json(payload)


def test_claims_of_many_rows_are_refused_without_the_memory_for_them() -> None:
    record = bytearray(frames.pack_record(0, 1, 0, 0, 0, 0, "s", Fingerprint(bytes(16), "d", (), None, (bytes(16),))))
    at = len(record) - 20
    record[at : at + 4] = struct.pack("<I", 2**32 - 1)
    with pytest.raises(ValueError, match="rows"):
        unpack_records(bytes(record))


def test_rows_beyond_the_limit_are_left_out_and_the_digest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "ROWS_MAX", 2)
    packed = frames.pack_record(0, 1, 0, 0, 0, 0, "s", Fingerprint(bytes(16), "d", (3,), bytes(16), (bytes(16),) * 3))
    (record,) = unpack_records(packed)
    assert record.rows is None
    assert record.order_blind == bytes(16)


def test_long_names_are_shortened_and_stay_distinct() -> None:
    first, second = (frames.short_name("é" * 70_000 + end) for end in "ab")
    assert first != second
    assert len(first.encode()) <= frames.NAME_BYTES_MAX
    assert frames.short_name("forward/layer1.0") == "forward/layer1.0"
    frames.pack_record(0, 0, 0, 0, 0, 0, first, Fingerprint(bytes(16), "d"))


def test_names_with_undecodable_bytes_travel() -> None:
    site = b"caf\xe9".decode("utf-8", "surrogateescape")
    packed = frames.pack_record(0, 0, 0, 0, 0, 0, site, Fingerprint(bytes(16), "d"), {"file": site})
    (record,) = unpack_records(packed)
    assert record.site == site
    assert record.evidence == {"file": site}


def test_step_and_stop_frames() -> None:
    reader = frames.FrameReader()
    (step, stop) = reader.feed(frames.step_frame(7, True) + frames.stop_frame(9))
    assert (step[0], frames.unpack_step(step[1])) == (frames.STEP, (7, True))
    assert (stop[0], frames.unpack_stop(stop[1])) == (frames.STOP, 9)
    with pytest.raises(ValueError, match="STEP"):
        frames.unpack_step(b"123")
    with pytest.raises(ValueError, match="STOP"):
        frames.unpack_stop(b"12345")
