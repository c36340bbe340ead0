"""Columns: what goes in comes out; what was tampered with raises DamagedError or is still well-formed, and never anything else."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Fingerprint, Phase, Stage
from detctl_coordinator.storage.reading.columns import INFLATED_BYTES_MAX, RECORDS_MAX, pack, read_columns, unpack
from detctl_proto.v1 import records_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

u32 = st.integers(0, 2**32 - 1)
digest = st.binary(min_size=16, max_size=16)
name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)  # NUL is escaped
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | name,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
records = st.lists(
    st.builds(
        Fingerprint,
        sequence=st.integers(0, 2**62),
        stage=st.sampled_from(Stage),
        phase=st.sampled_from(Phase),
        step=u32,
        micro=u32,
        site=st.sampled_from(["root1/conv1", "listing/{data}/train"]) | name,
        occurrence=u32,
        dtype=st.sampled_from(["float32", "py:str"]),
        shape=st.lists(st.integers(0, 2**63), max_size=4).map(tuple),
        digest=digest,
        order_blind=st.none() | digest,
        rows=st.none() | st.lists(digest, max_size=4).map(tuple),
        sketch=st.none() | st.lists(st.floats(allow_nan=False), min_size=38, max_size=38).map(tuple),
        evidence=st.dictionaries(name, json_values, max_size=2),
    ),
    max_size=12,
)
quick = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@quick
@given(records)
def test_what_goes_in_comes_out(items: list[Fingerprint]) -> None:
    assert unpack(pack(items), len(items)) == items


@quick
@given(records, st.data())
def test_where_finds_the_records_of_a_step(items: list[Fingerprint], data: st.DataObject) -> None:
    columns = read_columns(pack(items))
    for item in items:
        same = [
            at
            for at, other in enumerate(items)
            if (other.stage, other.phase, other.step) == (item.stage, item.phase, item.step)
        ]
        assert columns.where(item.stage, item.phase, item.step) == same


@quick
@given(records.filter(bool), st.data())
def test_tampered_columns_are_damaged_or_well_formed(items: list[Fingerprint], data: st.DataObject) -> None:
    raw = bytearray(zlib.decompress(pack(items)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unpack(zlib.compress(bytes(raw)))
    except DamagedError:
        return
    for item in found:
        assert len(item.digest) == 16 and item.step >= 0 and isinstance(item.stage, Stage)
        assert all(len(row) == 16 for row in item.rows or ())


@quick
@given(st.binary(max_size=200))
def test_any_bytes_are_damaged_or_well_formed(data: bytes) -> None:
    for candidate in (data, zlib.compress(data)):
        try:
            unpack(candidate)
        except DamagedError:
            pass


@quick
@given(records.filter(bool))
def test_a_cut_segment_is_damaged(items: list[Fingerprint]) -> None:
    data = pack(items)
    for cut in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(DamagedError):
            unpack(data[:cut])
    with pytest.raises(DamagedError):
        unpack(data + b"x")
    with pytest.raises(DamagedError):
        unpack(data, len(items) + 1)


def one_record(**changes: Any) -> records_pb2.RecordColumns:
    raw = zlib.decompress(pack([Fingerprint(0, Stage.LOSS, Phase.TRAIN, 0, 0, "loss", 0, "float32", (), bytes(16))]))
    message = records_pb2.RecordColumns.FromString(raw)
    for field, value in changes.items():
        if isinstance(value, list):
            del getattr(message, field)[:]
            getattr(message, field).extend(value)
        else:
            setattr(message, field, value)
    return message


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": [14]},
        {"phase": [2]},
        {"site": [7]},
        {"dtype": [2]},
        {"shape": [1]},
        {"micro": []},
        {"micro": [0, 0]},
        {"digests": bytes(15)},
        {"digests": bytes(32)},
        {"step_delta": [-1]},
        {"step_delta": [1 << 32]},
        {"sequence_delta": [-5]},
        {"order_blind_at": [0]},
        {"order_blind_at": [1], "order_blind": bytes(16)},
        {"rows_at": [0], "rows_count": [4_000_000_000]},
        {"rows_at": [0, 0], "rows_count": [1, 1], "rows": bytes(32)},
        {"sketch_at": [0], "sketch": bytes(303)},
        {"evidence_at": [0], "evidence": ["[]"]},
        {"evidence_at": [0], "evidence": ["{"]},
        {"evidence_at": [0], "evidence": ["[" * 100_000]},
        {"evidence_at": [0]},
    ],
)
def test_sizes_and_numbers_that_do_not_fit_are_damaged(changes: dict[str, Any]) -> None:
    with pytest.raises(DamagedError):
        unpack(zlib.compress(one_record(**changes).SerializeToString()))


def test_a_bomb_is_damaged() -> None:
    with pytest.raises(DamagedError, match="inflates beyond"):
        unpack(zlib.compress(bytes(INFLATED_BYTES_MAX + 1)))


def test_too_many_records_are_damaged() -> None:
    count = RECORDS_MAX + 1
    with pytest.raises(DamagedError, match="limit"):
        unpack(zlib.compress(one_record(sequence_delta=[1] * count).SerializeToString()))
