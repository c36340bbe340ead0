"""Documents of audits and seals: round trips through JSON text, unknown keys, damage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from detctl_coordinator.domain.audit import Audit, AuditRequest, AuditState
from detctl_coordinator.domain.fingerprint import Phase, Seal, SealedStream, Stage, StreamKey
from detctl_coordinator.domain.run import Arm, RunOutcome, RunRecord, RunSpec, RunState
from detctl_coordinator.storage import documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
whole = st.integers(0, 2**32 - 1)
seconds = st.floats(0, 1e12)
pairs = st.lists(st.tuples(text, text), max_size=3).map(tuple)
texts = st.dictionaries(text, text, max_size=3)
facts = st.recursive(
    texts, lambda inner: st.dictionaries(text, inner | whole | st.lists(text, max_size=2), max_size=3), max_leaves=6
)
requests = st.builds(
    AuditRequest,
    recipe=text,
    machines=st.lists(text, max_size=3).map(tuple),
    environments=st.lists(text, max_size=3).map(tuple),
    twins=whole,
    step_from=whole,
    step_to=st.none() | whole,
    to_end=st.booleans(),
    level=text,
    set=pairs,
    vary=st.lists(st.tuples(text, st.lists(text, max_size=2).map(tuple)), max_size=2).map(tuple),
    requested_by=text,
    joiners=st.lists(text, max_size=2).map(tuple),
)
runs = st.builds(
    RunRecord,
    spec=st.builds(
        RunSpec,
        run_id=text,
        audit_id=text,
        recipe=text,
        arm=st.builds(Arm, machine=text, environment=text, variation=pairs),
        twin=whole,
        parameters=texts,
        variables=texts,
        interventions=texts,
        level=text,
        step_from=whole,
        step_to=st.none() | whole,
        expected_source_digest=text,
    ),
    state=st.sampled_from(RunState),
    attempt=whole,
    boot_id=text,
    step=whole,
    records=whole,
    created_unix_s=seconds,
    manifest=facts,
    outcome=st.none()
    | st.builds(
        RunOutcome,
        end=text,
        exit_code=st.integers(-64, 255),
        message=text,
        output_tail=text,
        ranks=whole,
        wall_s=seconds,
    ),
    message=text,
)
audits = st.builds(
    Audit,
    audit_id=text,
    request=requests,
    runs=st.lists(runs, max_size=3).map(lambda items: {run.spec.run_id: run for run in items}),
    state=st.sampled_from(AuditState),
    created_unix_s=seconds,
    version=whole,
    stop_after_step=st.none() | whole,
    verdict_json=text,
    message=text,
)
seals = st.builds(
    Seal,
    rank=whole,
    segments=whole,
    last_step=whole,
    steps_finished=whole,
    reason=text,
    complete=st.booleans(),
    streams=st.lists(
        st.builds(
            SealedStream,
            key=st.builds(StreamKey, rank=whole, stage=st.sampled_from(Stage), phase=st.sampled_from(Phase)),
            steps=whole,
            count=whole,
            chain=st.binary(min_size=16, max_size=16),
        ),
        max_size=3,
    ).map(tuple),
    detail=facts,
)
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(audits)
def test_an_audit_comes_back(audit: Audit) -> None:
    stored = documents.dump(documents.audit_to_json(audit))
    assert stored.isascii()
    assert documents.audit_from_json(documents.load(stored)) == audit


@quick
@given(seals)
def test_a_seal_comes_back(seal: Seal) -> None:
    assert documents.seal_from_json(documents.load(documents.dump(documents.seal_to_json(seal)))) == seal


@quick
@given(audits, st.data())
def test_unknown_keys_are_ignored(audit: Audit, data: st.DataObject) -> None:
    document = documents.audit_to_json(audit)
    document["later"] = document["request"]["later"] = data.draw(facts)
    for run in document["runs"]:
        run["later"] = run["spec"]["later"] = 1
    assert documents.audit_from_json(document) == audit


def test_absent_keys_have_their_defaults() -> None:
    document = {
        "schema": "detctl.audit/v1",
        "audit_id": "a",
        "state": "running",
        "request": {"recipe": "digits", "machines": ["gpu1"]},
    }
    assert documents.audit_from_json(document) == Audit("a", AuditRequest("digits", ("gpu1",)))


@pytest.mark.parametrize(
    "stored",
    [
        "{",
        "[]",
        "null",
        '{"schema": "detctl.audit/v2"}',
        '{"schema": "detctl.audit/v1"}',
        '{"schema": "detctl.audit/v1", "audit_id": "a", "state": "asleep", "request": {"recipe": "r", "machines": []}}',
        '{"schema": "detctl.audit/v1", "audit_id": "a", "state": "done", "request": null}',
        '{"schema": "detctl.audit/v1", "audit_id": "a", "state": "done", "request": {"recipe": "r", "machines": 3}}',
    ],
)
def test_what_cannot_be_read_is_one_clear_error(stored: str) -> None:
    with pytest.raises(documents.DocumentError) as caught:
        documents.audit_from_json(documents.load(stored))
    assert "\n" not in str(caught.value)


@quick
@given(audits, st.data())
def test_a_damaged_document_never_raises_anything_else(audit: Audit, data: st.DataObject) -> None:
    document: Any = json.loads(documents.dump(documents.audit_to_json(audit)))
    place = document
    for _ in range(data.draw(st.integers(0, 3))):
        inner = [
            value
            for value in (place.values() if isinstance(place, dict) else place)
            if isinstance(value, dict | list) and value
        ]
        if not inner:
            break
        place = data.draw(st.sampled_from(inner))
    at = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[at] = data.draw(st.none() | st.integers(-1, 1) | st.just([[]]) | st.just({}))
    try:
        documents.audit_from_json(document)
    except documents.DocumentError:
        pass
