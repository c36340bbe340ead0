"""concurrency needs a race that was seen: who steps the model, what threads share, or results taken as they finish."""

from __future__ import annotations

from typing import Any

from detctl_coordinator.domain.verdict import Verdict

from tests.support.judged_runs import MODEL, within

STARTED = {"file": "{cwd}/train.py", "line": 30}
SHARED = {
    "call": "ingest",
    "shared": "db.execute",
    "at": "{cwd}/train.py:20",
    "generator": "",
    "steps": False,
    **STARTED,
}


def twins(*stages: str, order: bool = False, **note: Any) -> Verdict:
    def change(builder: Any, twin: int) -> Any:
        if note:
            builder.note(note["kind"], "several threads race", **{k: v for k, v in note.items() if k != "kind"})
        if order:
            builder.note("thread-order", "ended", count=4, order=str(twin))
        return builder.carry(*stages, value=twin)

    return within(change)


def test_threads_that_share_a_table_race_for_the_order_of_its_rows() -> None:
    (cause,) = twins("batch", *MODEL, order=True, kind="threads", **SHARED).causes
    assert (cause.cause, cause.origin, cause.fix_at) == ("concurrency", "code", "{cwd}/train.py:20")
    assert any("ended in another order" in line for line in cause.evidence)
    assert twins("batch", *MODEL).causes[0].cause != "concurrency"


def test_a_shared_generator_is_named_before_other_things_that_are_shared() -> None:
    note = {**SHARED, "generator": "rng", "shared": "rng.normal"}
    (cause,) = twins("batch", *MODEL, kind="threads", **note).causes
    assert cause.cause == "concurrency" and "rng.normal" in cause.fix
    assert "rng" in [clue.generator for clue in cause.clues]


def test_several_threads_that_step_one_model_are_no_kernel() -> None:
    (cause,) = twins("forward", "loss", "backward", "update", kind="thread-step", thread="Thread-2", **STARTED).causes
    assert (cause.cause, cause.fix_at) == ("concurrency", "{cwd}/train.py:30")


def test_threads_do_not_explain_an_unseeded_generator() -> None:
    def change(builder: Any, twin: int) -> Any:
        builder.note("threads", "several threads race", **SHARED)
        builder.note("unseeded-rng", "never seeded", generator="numpy", file="{cwd}/train.py", line=3)
        return builder.carry("rng", "batch", *MODEL, value=twin)

    assert within(change).causes[0].cause == "unseeded-rng"
