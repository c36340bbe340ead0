"""What a message would become is counted in its bytes: never less than what the parser makes of it, and without parsing."""

from __future__ import annotations

import zlib
from contextlib import suppress

import pytest
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.element_count import UNCOUNTED_BYTES, MalformedError, TooManyError, check_elements
from detctl_coordinator.storage.reading.columns import COLUMNS, inflated_bytes_max, read_columns
from detctl_proto.v1 import agents_pb2, audits_pb2, records_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

PADDING = "x" * UNCOUNTED_BYTES  # smaller messages are not counted at all
NUMBERS = st.lists(st.integers(0, 2**32 - 1), max_size=60)


def limit_of(raw: bytes, descriptor: object) -> int:
    """The smallest limit under which the message passes."""
    low, high = 0, len(raw)
    while low < high:
        middle = (low + high) // 2
        try:
            check_elements(raw, descriptor, middle)
            high = middle
        except TooManyError:
            low = middle + 1
    return low


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, max_size=5), NUMBERS, st.lists(st.text(max_size=5), max_size=8))
def test_every_element_counts(shapes, sites, names):
    message = records_pb2.RecordColumns(
        names=[*names, PADDING], site=sites, shapes=[{"sizes": sizes} for sizes in shapes]
    )
    wanted = len(names) + 1 + len(sites) + len(shapes) + sum(map(len, shapes))
    assert limit_of(message.SerializeToString(), message.DESCRIPTOR) == wanted


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=6), st.integers(0, 9))
def test_nested_messages_and_maps_count(parameters, recipes):
    hello = agents_pb2.Hello(manifest_json=PADDING, recipes=[{"parameters": parameters}] * recipes)
    message = agents_pb2.AgentMessage(hello=hello)
    # Of each entry of a map its key and its value, which the encoder writes also where they are empty.
    assert limit_of(message.SerializeToString(), message.DESCRIPTOR) == 2 + recipes * (1 + 3 * len(parameters))


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from([records_pb2.RecordColumns, agents_pb2.IngestRequest, audits_pb2.AuditRequest]),
)
def test_any_bytes(start, kind):
    """The count passes, or finds what the parser would not take (groups, which no message of ours has, are refused too)."""
    raw = start + kind.DESCRIPTOR.name.encode() * UNCOUNTED_BYTES
    with suppress(MalformedError):
        check_elements(raw, kind.DESCRIPTOR, 1 << 30)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"\x0a\x00" * (2 << 20), records_pb2.RecordColumns),  # names
        (b"\x5a\x00" * (2 << 20), records_pb2.RecordColumns),  # shapes
        (b"\x18\x00" * (2 << 20), records_pb2.RecordColumns),  # stages, one by one
        (b"\x1a\x80\x80\x80\x01" + bytes(2 << 20), records_pb2.RecordColumns),  # stages, packed
        (b"\x62\x00" * (2 << 20), records_pb2.Segment),  # closed steps
        (b"\x4a\x00" * (2 << 20), records_pb2.Seal),  # streams
        (b"\x12\x00" * (2 << 20), audits_pb2.AuditRequest),  # machines
        (b"\xfa\x7f\x00" * (1 << 20), audits_pb2.AuditRequest),  # a field that nobody knows
        (b"\x0a\x80\x80\x80\x02" + b"\x1a\x00" * (2 << 20), agents_pb2.AgentMessage),  # offers of recipes
    ],
)
def test_four_mebibytes_of_nearly_nothing_are_too_many(raw, kind):
    with pytest.raises(TooManyError):
        check_elements(raw, kind.DESCRIPTOR, 65_536)


@pytest.mark.parametrize("tag", [b"\x0a\x00", b"\x5a\x00", b"\x18\x00", b"\x20\x00", b"\xaa\x01\x00", b"\x68\x00"])
def test_a_small_segment_never_becomes_hundreds_of_megabytes(tag):
    """24 KiB of each that the issue's attack sent; counted, and refused before the parser sees them."""
    for size in (1 << 20, 16 << 20, 24 << 20):
        for count in (0, 1, 65_536, None):
            with pytest.raises(DamagedError):
                read_columns(zlib.compress(tag * (size // len(tag)), 9), count)


def test_one_shape_of_a_million_sizes():
    shape = b"\x0a\x80\x80\x40" + bytes(1 << 20)
    columns = b"\x5a\x84\x80\x40" + shape
    with pytest.raises(DamagedError, match="elements"):
        read_columns(zlib.compress(columns, 9), 1)


def test_how_far_a_segment_may_inflate():
    at = inflated_bytes_max(1000)
    with pytest.raises(DamagedError, match="inflates beyond"):
        read_columns(zlib.compress(bytes(at + 1_000_000), 9))
    # What an agent may send: a record with a mebibyte of rows that are all the same, and names that repeat each other.
    rows = records_pb2.RecordColumns(
        **{name: [0] * 4096 for name in COLUMNS[:9]},
        names=[f"{'layer.' * 80}{number:05d}" for number in range(4096)],
        shapes=[{"sizes": [65_536]}],
        digests=bytes(16 * 4096),
        rows_at=[0],
        rows_count=[65_536],
        rows=bytes(1 << 20),
    )
    assert len(read_columns(zlib.compress(rows.SerializeToString(), 6), 4096)) == 4096
