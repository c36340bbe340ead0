"""What a run kept: read back whole or not at all beyond a damage, and given to nobody but the machine that an audit tells to take it."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from detctl_coordinator.domain.audit import Audit, AuditRequest
from detctl_coordinator.domain.run import Arm, RunRecord, RunSpec, RunState
from detctl_coordinator.scheduling.transplants import may_take, tensor_parts

from tests.support.memory_runs import RunBuilder


def kept(*rows: tuple[str, Any]) -> Any:
    builder = RunBuilder("gpu1").train(steps=2)
    for step, (site, evidence) in enumerate(rows):
        builder.add("init", step, site, site, dtype="py:kept", evidence=evidence)
    return builder.build()


def told(content: bytes) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [2], "content": base64.b64encode(content).decode()}


def test_parts_come_back_in_order_with_names_that_hold_anything() -> None:
    run = kept(
        ("kept/net.weight#0", told(b"abcd")), ("kept/net.weight#1", told(b"efgh")), ("kept/batch/1/0[x#y]#0", told(b""))
    )
    parts = list(tensor_parts(run))
    assert [(p.site, p.content) for p in parts] == [
        ("net.weight", b"abcd"),
        ("net.weight", b"efgh"),
        ("batch/1/0[x#y]", b""),
    ]
    assert parts[0].dtype == "float32" and parts[0].shape == (2,)
    assert list(tensor_parts(RunBuilder("gpu1").train(steps=2).build())) == []


def test_nothing_is_taken_from_behind_a_damage() -> None:
    for bad in (
        {"dtype": "float32", "shape": [2], "content": "no base64!"},
        {"dtype": "float32"},
        {"shape": "x", "dtype": "", "content": ""},
    ):
        run = kept(("kept/a#0", told(b"abcd")), ("kept/b#0", bad), ("kept/c#0", told(b"abcd")))
        assert [part.site for part in tensor_parts(run)] == ["a"]


def test_only_the_machine_that_is_told_to_may_have_it() -> None:
    source = RunSpec("a1.004", "a1", "digits", Arm("gpu1"), 4, interventions={"keep": "init"}, purpose="experiment")
    taker = replace(source, run_id="a1.005", arm=Arm("gpu2"), interventions={"transplant": "init:a1.004"})
    runs = {spec.run_id: RunRecord(spec, RunState.RUNNING) for spec in (source, taker)}
    audit = Audit("a1", AuditRequest("digits", ("gpu1", "gpu2")), runs)
    assert may_take([audit], "gpu2", "a1.004")
    assert not may_take([audit], "gpu1", "a1.004"), "not the one that is told nothing"
    assert not may_take([audit], "gpu3", "a1.004") and not may_take([], "gpu2", "a1.004")
    assert not may_take([audit], "gpu2", "a1.003"), "not another run"
    over = replace(audit, runs={**runs, "a1.005": replace(runs["a1.005"], state=RunState.SEALED)})
    assert not may_take([over], "gpu2", "a1.004"), "not once it is over"
    other = replace(audit, audit_id="a2", runs={"a1.005": runs["a1.005"]})
    assert not may_take([other], "gpu2", "a1.004"), "not from a run of another audit"
