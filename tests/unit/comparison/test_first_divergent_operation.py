"""The first divergent operation: equal inputs and different outputs, or the reason why none is named."""

from __future__ import annotations

import pytest
from detctl_coordinator.comparison.first_divergent_operation import (
    DivergentInput,
    DivergentOperation,
    first_divergent_operation,
)
from detctl_coordinator.comparison.pair import compare_pair
from detctl_coordinator.domain.fingerprint import Stage

from tests.support.memory_runs import RunBuilder, sketch_of

OPS = ("root1/0:aten.addmm.default", "root1/1:aten.relu.default", "root1:aten.sum.default")


def run(machine: str, outputs: list[object], *, at: str = "{cwd}/train.py:7", ops: tuple[str, ...] = OPS) -> RunBuilder:
    """A step of operations in a row: each takes what the one before gave."""
    builder = RunBuilder(machine)
    before: object = "x"
    for op, out in zip(ops, outputs, strict=True):
        sketch = sketch_of([out, 1.0]) if isinstance(out, float) else None
        builder.add("forward", 3, op, out, evidence={"in": [str(before)], "args": "(T)", "at": at}, sketch=sketch)
        before = out
    return builder.add("loss", 3, "loss", outputs[-1]).ended("exit", steps=4)


def found(left: RunBuilder, right: RunBuilder) -> DivergentOperation | DivergentInput | str:
    return first_divergent_operation(compare_pair(left.build(), right.build()), 3)


def test_the_first_operation_with_equal_inputs_and_another_output() -> None:
    one = found(run("gpu1", ["a", 1.0, "c"]), run("gpu2", ["a", 1.0 + 2**-22, "d"]))
    assert isinstance(one, DivergentOperation)
    assert (one.op, one.site, one.stage) == ("aten.relu.default", OPS[1], Stage.FORWARD)
    assert one.at == ("{cwd}/train.py:7",)
    assert one.relative == pytest.approx(2**-22 / 2**0.5, rel=1e-3)
    assert one.ulp == pytest.approx(2**0.5, rel=1e-3)
    assert one.description.startswith("the inputs are equal, but the outputs differ by 1.7e-07 relative")


def test_inputs_that_differ_already_name_nobody() -> None:
    other = run("gpu2", ["b", "c", "d"])
    other.rows[0] = other.rows[0].__class__(**{**other.rows[0].__dict__, "evidence": {"in": ["y"], "args": "(T)"}})
    one = found(run("gpu1", ["a", "b", "c"]), other)
    assert isinstance(one, DivergentInput) and "its inputs differ already" in one.description
    assert one.digests == ("x", "y") and one.measured is None


def test_other_arguments_are_reported_before_inputs() -> None:
    other = run("gpu2", ["b", "c", "d"])
    other.rows[0] = other.rows[0].__class__(**{**other.rows[0].__dict__, "evidence": {"in": ["x"], "args": "(T, 2)"}})
    one = found(run("gpu1", ["a", "b", "c"]), other)
    assert isinstance(one, DivergentOperation) and one.description == "the arguments differ: (T) vs (T, 2)"


@pytest.mark.parametrize("swapped", [False, True])
def test_an_operation_of_one_run_alone_and_what_it_did(swapped: bool) -> None:
    plain = run("gpu1", ["a", 1.0, "c"])
    longer = run("gpu2", ["a", "e", 1.5, "d"], ops=(OPS[0], "loop:aten.add_.Tensor", *OPS[1:]), at="{cwd}/train.py:9")
    one = found(longer, plain) if swapped else found(plain, longer)
    assert isinstance(one, DivergentOperation)
    assert one.op == "aten.add_.Tensor" and one.at == ("{cwd}/train.py:9",)
    assert f"only the {'first' if swapped else 'second'} run has this operation" in one.description
    assert one.relative == pytest.approx(0.5 / 3.25**0.5) and OPS[1] in one.description


def test_equal_operations_name_nobody() -> None:
    text = found(run("gpu1", ["a", "b", "c"]), run("gpu2", ["a", "b", "c"]))
    assert text == "every operation of step 3 has the same result in both runs"
