"""Hostile input: whatever bytes a message holds, its decoder returns a value or refuses; nothing else comes out."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress

from detctl_coordinator import limits
from detctl_coordinator.errors.codes import RefusedCallError
from detctl_coordinator.planning.imports import plan_import
from detctl_coordinator.storage.documents import machine_from_json, machine_to_json
from detctl_coordinator.wire import audits, control, records
from detctl_proto.limits import PARALLEL_RUNS_MAX
from detctl_proto.syntax.names import is_name
from detctl_proto.v1 import agents_pb2, audits_pb2, records_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["gpu1", "digits", "../x", "a" * 600, "<script>", "\x1b[2J", "{}", "[", "NaN"]),
)
U32 = st.one_of(st.integers(0, 5), st.just(2**32 - 1))
SMALL = st.lists(U32, max_size=4)
SIGNED = st.lists(st.one_of(st.integers(-3, 3), st.sampled_from([-(2**63), 2**63 - 1])), max_size=4)
COLUMNS = st.builds(
    records_pb2.RecordColumns,
    names=st.lists(TEXT, max_size=3),
    sequence_delta=SIGNED,
    stage=SMALL,
    phase=SMALL,
    step_delta=SIGNED,
    micro=SMALL,
    site=SMALL,
    occurrence=SMALL,
    dtype=SMALL,
    shape=SMALL,
    digests=st.binary(max_size=64),
    order_blind_at=SMALL,
    order_blind=st.binary(max_size=33),
    rows_at=SMALL,
    rows_count=SMALL,
    rows=st.binary(max_size=33),
    sketch_at=SMALL,
    evidence_at=SMALL,
    evidence=st.lists(TEXT, max_size=2),
)
ENTRY = st.builds(
    records_pb2.StepEntry,
    stage=st.integers(0, 20),
    phase=st.integers(0, 3),
    ordinal=U32,
    digest=st.binary(min_size=15, max_size=17),
)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(COLUMNS.map(lambda c: zlib.compress(c.SerializeToString())), st.binary(max_size=200)),
    U32,
    st.lists(ENTRY, max_size=2),
)
def test_segments(packed, count, closed):
    segment = records_pb2.Segment(
        run_id="a.000",
        attempt=1,
        scheme="n6.v1",
        level="module",
        record_count=count,
        columns=packed,
        crc32=zlib.crc32(packed),
    )
    segment.closed.extend(closed)
    with suppress(RefusedCallError):
        meta, columns, _ = records.segment_from_proto(segment)
        assert columns == packed and meta.record_count == count <= limits.SEGMENT_RECORDS_MAX


@settings(max_examples=150, deadline=None)
@given(st.builds(records_pb2.Seal, rank=U32, reason=TEXT, detail_json=TEXT, steps_finished=U32))
def test_seals(seal):
    with suppress(RefusedCallError):
        assert isinstance(dict(records.seal_from_proto(seal).detail), dict)


RECIPES = st.builds(
    agents_pb2.RecipeOffer,
    name=TEXT,
    parameters=st.dictionaries(TEXT, TEXT, max_size=2),
    patterns=st.dictionaries(TEXT, TEXT, max_size=2),
    paths=st.lists(TEXT, max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        agents_pb2.Hello,
        machine=TEXT,
        boot_id=st.one_of(TEXT, st.just("b1")),
        recipes=st.lists(RECIPES, max_size=2),
        manifest_json=TEXT,
        parallel_runs=U32,
    )
)
def test_hellos(hello):
    with suppress(RefusedCallError):
        machine = control.machine_from_hello(hello)
        assert is_name(machine.name) and 1 <= machine.parallel_runs <= PARALLEL_RUNS_MAX
        assert machine_from_json(json.loads(json.dumps(machine_to_json(machine)))) == machine


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        agents_pb2.RunState,
        run_id=st.one_of(TEXT, st.just("a.000")),
        phase=st.integers(0, 9),
        manifest_json=TEXT,
        end=st.one_of(TEXT, st.just("exit")),
        message=TEXT,
        output_tail=TEXT,
    )
)
def test_run_states(state):
    with suppress(RefusedCallError):
        event = control.run_event_from_state(state)
        assert is_name(event.run_id)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        audits_pb2.AuditRequest, recipe=TEXT, machines=st.lists(TEXT, max_size=3), twins=U32, step_from=U32, step_to=U32
    )
)
def test_requests(request):
    with suppress(RefusedCallError):
        assert audits.request_from_proto(request).twins >= 1


@settings(max_examples=150, deadline=None)
@given(st.one_of(TEXT, st.lists(TEXT, min_size=4, max_size=4).map("/".join)))
def test_labels_of_imports(label):
    with suppress(RefusedCallError):
        (run,) = plan_import(label, {}, 0.0).runs.values()
        assert is_name(run.spec.run_id) and "\x1b" not in run.spec.label
