"""A cause of numerics is named on a measurement: what an operation takes, and how its result differs element by element."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.measured.closer_look import Looked
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.attribution.zoom import looked, operation, zoom_specs, zoom_target
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.verdict import Verdict, Zoom
from numpy.typing import NDArray

from tests.support.judged_runs import first
from tests.support.memory_runs import MemoryRun, RunBuilder, digest_of

Array = NDArray[np.float32]
VALUES = np.linspace(0.1, 2.0, 64, dtype=np.float32).reshape(8, 8)
ROUNDED = np.nextafter(VALUES, np.float32(9))
ONE_WRONG = VALUES.copy()
ONE_WRONG[3, 4] = 7.25
ONE_BIT = (VALUES.view(np.uint32) ^ (np.arange(64, dtype=np.uint32).reshape(8, 8) == 21) * np.uint32(1 << 20)).view(
    np.float32
)
ONE_ULP = VALUES.copy()
ONE_ULP[2, 2] = np.nextafter(ONE_ULP[2, 2], np.float32(9))
PARTS = 100  # bytes of a part, so that each value has several


def keep(builder: RunBuilder, value: Array, step: int) -> str:
    """Keeps a value as the probe does; returns its name."""
    content, name = value.tobytes(), digest_of(value.tobytes()).hex()[:16]
    for number, at in enumerate(range(0, len(content), PARTS)):
        part = base64.b64encode(content[at : at + PARTS]).decode()
        evidence = {"dtype": "float32", "shape": list(value.shape), "every": 1, "content": part}
        builder.add("init", step, f"kept/value/{name}#{number}", part, dtype="py:kept", evidence=evidence)
    return name


def run(
    place: RunBuilder,
    result: Array,
    *,
    op: str = "aten.mm.default",
    stage: str = "backward",
    takes: str = "x",
    args: str = "(T, T)",
    was: Array | None = None,
    kept: bool = True,
) -> MemoryRun:
    """A run at level op whose one operation of step 2 gives this result."""
    builder = place.train()
    evidence = {"in": [takes], "args": args, "at": "{cwd}/train.py:9"}
    if was is not None:
        evidence["was"] = keep(builder, was, 2)
    if kept:
        keep(builder, result, 2)
    builder.add(stage, 2, f"root1/net:{op}", result.tobytes(), shape=result.shape, evidence=evidence)
    builder.carry("update", step=3, value=result.tobytes())
    made = builder.build()
    made.level = "op"
    return made


def verdict_of(*runs: MemoryRun) -> Verdict:
    case = Case(JudgeRequest("a1", "digits", runs))
    zoom = operation(case)
    return build_verdict(case.with_closer_look(looked(case, zoom))).model_copy(update={"zoom": zoom})


def twins(a: Array, b: Array, **more: object) -> Verdict:
    return verdict_of(*(run(RunBuilder("gpu1", twin), one, **more) for twin, one in enumerate((a, b))))  # type: ignore[arg-type]  # mypy does not know the types of **


def machines(a: Array, b: Array, *, threads: int = 4, **more: object) -> Verdict:
    sides = (("gpu1", 2, a), ("gpu2", threads, b))
    runs = [
        run(RunBuilder(name, twin).fact("torch/threads", count), one, **more)  # type: ignore[arg-type]  # mypy does not know the types of **
        for name, count, one in sides
        for twin in range(2)
    ]
    return verdict_of(*runs)


def test_rounding_in_many_elements_of_twins_is_a_kernel() -> None:
    verdict = twins(VALUES, ROUNDED)
    assert first(verdict) == ("nondeterministic-kernel", "code", "backward", 2)
    zoom = verdict.zoom
    assert zoom is not None and zoom.elements is not None
    assert (zoom.op, zoom.inputs_equal, zoom.known_to_race) == ("aten.mm.default", True, False)
    one = zoom.elements
    assert (one.pattern, one.differing, one.total, one.ulp_min, one.ulp_max) == ("rounding", 64, 64, 1, 1)
    assert one.rows == [(0, 7)] and not one.one_bit
    assert "64 of 64 elements" in zoom.words and "This is rounding." in zoom.words
    assert any("This is rounding." in line for line in verdict.causes[0].evidence)


@pytest.mark.parametrize(
    ("other", "pattern"), [(ONE_WRONG, "one-element"), (ONE_BIT, "one-bit"), (ONE_ULP, "one-element")]
)
@pytest.mark.parametrize("op", ["aten.mm.default", "aten.index_put_.default"])
def test_one_element_of_twins_is_no_kernel_unless_the_operation_races(other: Array, pattern: str, op: str) -> None:
    verdict = twins(VALUES, other, op=op)
    races = op.startswith("aten.index_put") and other is ONE_ULP
    assert first(verdict)[0] == ("nondeterministic-kernel" if races else "unknown")
    assert verdict.zoom is not None and verdict.zoom.elements is not None
    assert verdict.zoom.elements.pattern == pattern
    assert any("1 of 64 elements" in line and "row" in line for line in verdict.causes[0].evidence)


def test_without_values_only_a_known_operation_is_a_kernel() -> None:
    assert first(twins(VALUES, ROUNDED, kept=False))[0] == "unknown"
    verdict = twins(VALUES, ROUNDED, kept=False, op="aten.index_put_.default")
    assert first(verdict)[0] == "nondeterministic-kernel"
    assert any("not measured element by element" in line for line in verdict.causes[0].evidence)


@pytest.mark.parametrize("op", ["aten.randn.generator", "aten.native_dropout.default", "aten.normal_.default"])
@pytest.mark.parametrize("stage", ["forward", "backward"])
def test_an_operation_that_draws_is_no_kernel(op: str, stage: str) -> None:
    """Its generator was in another state: a private one, since no recorded state differs."""
    assert first(twins(VALUES, ROUNDED, op=op, stage=stage))[0] == "unknown"
    builders = [RunBuilder("gpu1", twin) for twin in range(2)]
    for builder in builders:
        builder.note("self-seeded", "takes a seed", call="torch.Generator.seed", file="{cwd}/train.py", line=4)
    runs = [run(one, value, op=op, stage=stage) for one, value in zip(builders, (VALUES, ROUNDED), strict=True)]
    verdict = verdict_of(*runs)
    assert first(verdict)[0] == "unseeded-rng"
    assert verdict.causes[0].fix_at == "{cwd}/train.py:4"


@pytest.mark.parametrize(("site", "concerns"), [("loop:aten.randn.generator", True), ("root1:aten.mm.default", False)])
def test_an_operation_of_the_loop_may_precede_any_stage_of_its_step(site: str, concerns: bool) -> None:
    zoom = Zoom(
        step=2, level="op", runs=[], words="", op=site.partition(":")[2], site=site, stage="loss", inputs_equal=True
    )
    node = Node(Stage.FORWARD)
    assert Looked(zoom, node, 2, True).concerns(node, 2, twins=True) is concerns


def test_other_inputs_or_arguments_are_no_kernel() -> None:
    builders = [RunBuilder("gpu1", twin) for twin in range(2)]
    for name in ("takes", "args"):
        sides = [
            run(b, v, **{name: f"({n})"}) for n, (b, v) in enumerate(zip(builders, (VALUES, ROUNDED), strict=True))
        ]  # type: ignore[arg-type]  # mypy does not know the types of **
        verdict = verdict_of(*sides)
        assert first(verdict)[0] == "unknown"
        assert verdict.zoom is not None and verdict.zoom.inputs_equal is False
        builders = [RunBuilder("gpu1", twin) for twin in range(2)]


@pytest.mark.parametrize(
    ("kind", "call", "stage", "cause"),
    [
        ("hash-order", "set", "loss", "hash-order"),
        ("identity", "/dev/urandom", "forward", "unseeded-rng"),
        ("identity", "secrets.randbits", "loss", "unseeded-rng"),
        ("identity", "uuid.uuid4", "forward", "unknown"),
        ("identity", "secrets.token_hex", "loss", "unknown"),
    ],
)
def test_a_computed_value_is_blamed_on_what_gave_its_operation_other_values(
    kind: str, call: str, stage: str, cause: str
) -> None:
    def verdict(*takes: str) -> Verdict:
        runs = []
        for twin, one in enumerate(takes):
            builder = RunBuilder("gpu1", twin)
            builder.facts["variables"] = {}  # hashes are random
            builder.note(kind, "noted", call=call, file="{cwd}/labels.py", line=5)
            result = (VALUES, ONE_WRONG)[twin]
            runs.append(run(builder, result, op="aten.gather.default", stage=stage, takes=one, kept=False))
        return verdict_of(*runs)

    assert verdict("x", "y").causes[0].cause == cause
    assert verdict("x", "x").causes[0].cause == "unknown"


def test_module_level_alone_names_no_kernel() -> None:
    """A difference that looks like rounding, between twins, without a zoom."""
    runs = [RunBuilder("gpu1", twin).train() for twin in range(2)]
    case = Case(JudgeRequest("a1", "digits", tuple(b.change("backward", 2, n).build() for n, b in enumerate(runs))))
    verdict = build_verdict(case)
    assert first(verdict)[:2] == ("unknown", "code")
    assert any("not measured element by element" in line for line in verdict.causes[0].evidence)


def test_threads_are_named_if_the_measured_size_fits() -> None:
    assert first(machines(VALUES, ROUNDED))[0] == "thread-count"
    assert first(machines(VALUES, ONE_ULP))[0] == "thread-count"
    unmeasured = machines(VALUES, ROUNDED, kept=False)
    assert first(unmeasured)[0] == "thread-count"
    assert any("not measured element by element" in line for line in unmeasured.causes[0].evidence)


@pytest.mark.parametrize("other", [ONE_WRONG, ONE_BIT, VALUES[::-1].copy(), VALUES * np.float32(1.001)])
def test_threads_are_not_named_if_it_does_not(other: Array) -> None:
    assert first(machines(VALUES, other))[0] == "unknown"


def test_an_update_is_judged_by_its_change() -> None:
    gradient = np.random.default_rng(3).normal(size=(8, 8)).astype(np.float32)
    step, other = (VALUES - np.float32(rate) * gradient for rate in (1e-3, 1.001e-3))
    verdict = machines(step, other, stage="update", op="aten.add_.Tensor", was=VALUES)
    assert first(verdict)[0] == "unknown"
    zoom = verdict.zoom
    assert zoom is not None and zoom.change is not None and zoom.change.proportional
    assert zoom.change.ratio == pytest.approx(1.001, abs=2e-4)
    assert "times as large in the second run" in zoom.words and "rounding" not in zoom.words


def test_values_are_kept_only_where_the_recipe_allows_it() -> None:
    runs = [RunBuilder("gpu1", twin).train().change("backward", 2, twin).change("update", 2, twin) for twin in range(2)]
    case = Case(JudgeRequest("a1", "digits", tuple(one.build() for one in runs)))
    target = zoom_target(case)
    assert target is not None and not target.values
    for one in runs:
        one.fact("recipe/allow_values", True)
    target = zoom_target(Case(JudgeRequest("a1", "digits", tuple(one.build() for one in runs))))
    assert target is not None and target.values == "backward"
    assert [spec.interventions for spec in zoom_specs(target, "a1", 2)] == [{"values": "backward"}] * 2


def test_kept_values_are_no_part_of_the_training() -> None:
    builder = RunBuilder("gpu1", 1).train()
    keep(builder, VALUES, 2)
    verdict = verdict_of(RunBuilder("gpu1").train().build(), builder.build())
    assert verdict.outcome == "identical" and not verdict.causes
