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


def content(value: object, **rows: Any) -> Verdict:
    """Twins whose batches hold other rows, while threads append to a list that they share."""

    def change(builder: Any, twin: int) -> Any:
        builder.note("threads", "several threads race", **{**SHARED, "shared": "log.append", "call": "log"})
        builder.drop("batch")
        for step in range(4):
            builder.add("batch", step, "0", rows=[(value, twin, step, 0), (value, twin, step, 1)])
        return builder.carry(*MODEL, value=twin)

    return within(change)


def test_an_order_makes_no_other_samples() -> None:
    (cause,) = content("noise").causes
    assert cause.cause == "unknown"
    assert "threads" in {clue.kind for clue in cause.clues}  # named as possible


def drawn(generator: str, *, several: bool = False, unseeded: str = "") -> Verdict:
    def change(builder: Any, twin: int) -> Any:
        note = {**SHARED, "generator": generator, "shared": "torch.randn", "several": several}
        builder.note("threads", "a thread draws", **note)
        if unseeded:
            builder.note("unseeded-rng", "never seeded", generator=unseeded, file="{cwd}/train.py", line=3)
        return builder.carry("rng", *MODEL, value=twin)

    return within(change)


def test_a_thread_that_draws_from_a_seeded_global_generator_races_with_the_training() -> None:
    (cause,) = drawn("torch").causes
    assert (cause.cause, cause.fix_at) == ("concurrency", "{cwd}/train.py:20")
    assert drawn("numpy").causes[0].cause != "concurrency"  # another generator than the one that differs
    assert drawn("torch", unseeded="torch").causes[0].cause == "unseeded-rng"


def test_processes_that_share_weights_race_only_if_there_are_several() -> None:
    def processes(count: int) -> Verdict:
        def change(builder: Any, twin: int) -> Any:
            note = {"kind": "thread-step", "stage": "update", "shared_memory": True, **STARTED}
            builder.note(note.pop("kind"), "processes share weights", **note)
            for rank in range(1, count):
                builder.train(rank=rank)
            return builder.carry("update", value=twin)

        return within(change)

    (cause,) = processes(2).causes
    assert (cause.cause, cause.fix_at) == ("concurrency", "{cwd}/train.py:30")
    assert processes(1).causes[0].cause != "concurrency"


def test_threads_that_call_backward_sum_gradients_in_the_order_of_their_timing() -> None:
    (cause,) = twins("backward", "update", kind="thread-step", stage="backward", thread="w", **STARTED).causes
    assert cause.cause == "concurrency" and "fixed order" in cause.fix


def test_what_was_drawn_may_differ_before_the_state_does() -> None:
    """The state is read at the start of a step, and threads interleave within one."""

    def change(builder: Any, twin: int) -> Any:
        note = {**SHARED, "generator": "torch", "shared": "torch.randn", "several": False}
        builder.note("threads", "a thread draws", **note)
        return builder.carry(*MODEL, step=1, value=twin).carry("rng", step=3, value=twin)

    causes = within(change).causes
    assert [(cause.cause, cause.stage, cause.step) for cause in causes] == [("concurrency", "forward", 1)]


def test_threads_that_step_one_model_draw_in_the_order_of_their_timing_as_well() -> None:
    def change(builder: Any, twin: int) -> Any:
        builder.note("thread-step", "several threads make steps", thread="Thread-2", stage="update", **STARTED)
        return builder.carry("rng", *MODEL, step=2, value=twin)

    assert {cause.cause for cause in within(change).causes} == {"concurrency"}


def test_a_state_that_only_one_run_has_does_not_show_that_no_seed_controls_it() -> None:
    def change(builder: Any, twin: int) -> Any:
        return (builder.drop("rng") if twin else builder).carry("batch", *MODEL, value=twin)

    assert "unseeded-rng" not in {cause.cause for cause in within(change).causes}
