"""Loss values, facts about runs and digests of source files in a verdict."""

from __future__ import annotations

import math

from detctl_coordinator.attribution.verdict.losses import POINTS_MAX

from tests.support.judged_runs import judged
from tests.support.memory_runs import MemoryRun, RunBuilder, sketch_of


def run(twin: int, values: list[float], **more: object) -> MemoryRun:
    built = RunBuilder("gpu1", twin)
    for step, value in enumerate(values):
        sketch = sketch_of([value]) if math.isfinite(value) else (1.0, *[0.0] * 37)
        built.add("loss", step, "loss", value, shape=(), sketch=sketch, **more)
    return built.build()


def test_the_loss_of_each_step_is_in_the_verdict() -> None:
    verdict = judged(run(0, [3.0, 2.5, 2.0]), run(1, [3.0, 2.5, math.nan]))
    assert verdict.losses == {
        "gpu1/default/base/twin-0": [(0, 3.0), (1, 2.5), (2, 2.0)],
        "gpu1/default/base/twin-1": [(0, 3.0), (1, 2.5), (2, None)],
    }
    assert '"losses": {"gpu1/default/base/twin-0": [[0, 3.0]' in verdict.to_json()


def test_a_scaled_loss_is_divided_by_its_scale() -> None:
    assert judged(run(0, [8.0], evidence={"scale": 4.0})).losses == {"gpu1/default/base/twin-0": [(0, 2.0)]}


def test_a_run_without_sketches_has_no_losses() -> None:
    assert judged(RunBuilder("gpu1").add("loss", 0, "loss", 1.0, shape=()).build()).losses == {}


def test_a_long_run_is_sampled() -> None:
    (curve,) = judged(run(0, [float(n) for n in range(3 * POINTS_MAX)])).losses.values()
    assert len(curve) == POINTS_MAX and curve[1] == (3, 3.0)


def test_the_verdict_says_what_each_run_was() -> None:
    verdict = judged(run(0, [1.0]), run(1, [1.0]), requested_by="ada")
    assert verdict.requested_by == "ada"
    assert [one.label for one in verdict.runs] == ["gpu1/default/base/twin-0", "gpu1/default/base/twin-1"]
    assert verdict.runs[0].chains == verdict.runs[1].chains and set(verdict.runs[0].chains) == {"loss"}


def test_digests_of_source_files_are_listed_once_unless_they_differ() -> None:
    def with_source(twin: int, content: str) -> MemoryRun:
        built = RunBuilder("gpu1", twin).train()
        built.add("code", 0, "{cwd}/train.py", content, dtype="py:source", shape=(3,))
        return built.add("code", 0, "command", "python", dtype="py:command", shape=(2,)).build()

    same = judged(with_source(0, "a"), with_source(1, "a"))
    assert list(same.sources) == ["{cwd}/train.py"] and len(same.sources["{cwd}/train.py"]) == 1
    assert len(judged(with_source(0, "a"), with_source(1, "b")).sources["{cwd}/train.py"]) == 2
