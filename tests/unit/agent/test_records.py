"""The agent's reader against the probe's writer, and against input that no probe would write."""

from __future__ import annotations

import random
import struct

import pytest
from detctl_agent.recording import records
from detctl_agent.recording.records import RecordParser, record_hash
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.transport import chain, frames
from detctl_probe.transport.frames import FrameReader, ProtocolError
from hypothesis import given, settings
from hypothesis import strategies as st

digests = st.binary(min_size=16, max_size=16)
prints = st.builds(
    Fingerprint,
    digest=digests,
    dtype=st.sampled_from(["float32", "py:str", "py:list", ""]),
    shape=st.lists(st.integers(0, 2**40), max_size=5).map(tuple),
    order_blind=st.none() | digests,
    rows=st.none() | st.lists(digests, max_size=4).map(tuple),
    sketch=st.none() | st.just(tuple(float(i) for i in range(38))),
)
sites = st.text(max_size=20) | st.just("listing/{data}/\udcff")


@settings(max_examples=150, deadline=None)
@given(
    given_records=st.lists(
        st.tuples(prints, sites, st.integers(0, 13), st.integers(0, 1), st.integers(0, 9)), max_size=6
    )
)
def test_what_the_probe_packs_is_read_with_the_probes_hash(
    given_records: list[tuple[Fingerprint, str, int, int, int]],
) -> None:
    payload = b"".join(
        frames.pack_record(number, stage, phase, 7, 1, occurrence, site, value, {"line": 3} if number % 2 else None)
        for number, (value, site, stage, phase, occurrence) in enumerate(given_records)
    )
    found = RecordParser().parse(payload)
    assert len(found) == len(given_records)
    for number, (record, (value, site, stage, phase, occurrence)) in enumerate(zip(found, given_records, strict=True)):
        assert (record.sequence, record.stage, record.phase, record.step) == (number, stage, phase, 7)
        assert (record.micro, record.occurrence) == (1, occurrence)
        assert record.identity.shape == value.shape
        assert record.digest == value.digest
        assert record.order_blind == value.order_blind
        assert record.rows == (None if value.rows is None else b"".join(value.rows))
        assert (record.evidence is not None) == (number % 2 == 1)
        assert record.sketch == (None if value.sketch is None else struct.pack("<38d", *value.sketch))
        expected = chain.record_hash(site, occurrence, value.dtype, value.shape, value.digest, value.order_blind)
        assert record_hash(record) == expected
        record.identity.site.encode("utf-8")  # fits a protobuf string


def test_a_payload_cut_anywhere_is_an_error_or_fewer_records() -> None:
    value = Fingerprint(bytes(16), "float32", (2, 3), bytes(16), (bytes(16),) * 3)
    payload = frames.pack_record(0, 8, 0, 0, 0, 0, "layer", value, {"a": 1})
    for length in range(1, len(payload)):
        with pytest.raises(ProtocolError):
            RecordParser().parse(payload[:length])


@settings(max_examples=300, deadline=None)
@given(junk=st.binary(max_size=300))
def test_junk_is_an_error_and_nothing_else(junk: bytes) -> None:
    try:
        found = RecordParser().parse(junk)
    except ProtocolError:
        return
    assert junk == b"" or len(found) * 40 <= len(junk)


def test_frames_arrive_in_any_pieces() -> None:
    whole = b"".join(frames.frame(kind, bytes(kind * 7)) for kind in (1, 2, 3, 4)) + frames.step_frame(3, False)
    for seed in range(20):
        source, buffer, found, position = random.Random(seed), FrameReader(), [], 0
        while position < len(whole):
            piece = whole[position : position + source.randint(1, 9)]
            position += len(piece)
            found += list(buffer.feed(piece))
        assert [kind for kind, _ in found] == [1, 2, 3, 4, 3]
        assert found[4][1] == struct.pack("<IB", 3, 0)
        assert buffer.left == 0


@pytest.mark.parametrize("length", [0, frames.FRAME_BYTES_MAX + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader().feed(struct.pack("<IB", length, 2)))


def test_json_that_is_no_object() -> None:
    for payload in (b"[1]", b"{", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(ProtocolError):
            records.json_object(payload)
