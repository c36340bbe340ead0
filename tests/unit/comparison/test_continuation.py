"""Runs of which one continues the other are aligned by their weights, whatever their step numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from detctl_coordinator.attribution.continuations.restoration import restoration_of
from detctl_coordinator.attribution.evidence.facts import Note, manifest_of
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts
from detctl_coordinator.comparison.pair import compare_pair
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.steps.continuation import find_continuation
from detctl_coordinator.domain.fingerprint import Stage
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.memory_runs import MemoryRun, RunBuilder

STEPS = 12


def training(
    first: int = 0,
    stop: int = STEPS,
    *,
    lost: str = "",
    loader: str = "loader1",
    run_id: str = "whole",
    skipped: int = 0,
) -> MemoryRun:
    """A training of steps `first` to `stop` - 1, as its own process records it: its steps begin at 0. `lost`: the state that it does not
    restore. `skipped`: batches that it takes and throws away before its first step."""
    builder = RunBuilder(run_id=run_id)
    builder.steps = stop - first
    builder.add("init", 0, "net.weight", ("w", first - 1) if first else "w0")
    builder.add("init", 0, "net.frozen", "f")
    builder.add("rng", 0, "seed/torch.manual_seed", 1)
    for number in range(skipped):
        builder.add("order", 0, loader, rows=(("skip", number),), dtype="py:list", occurrence=number)
    for step in range(first, stop):
        own = step - first
        state = own if lost == "torch" else step
        seen = ("torch", own) if lost == "torch" else step
        apart = lost in ("torch", "optimizer", "order")
        more = ("other", first) if apart and first else ()
        builder.add("rng", own, "torch", ("state", state))
        rows = (("row", own if lost in ("torch", "order") else step),)
        builder.add("order", own, loader, rows=rows, dtype="py:list", occurrence=own + skipped)
        data = () if lost == "optimizer" else more
        builder.add("forward", own, "net", ("y", seen, data if own == 0 or not more else more))
        builder.add("loss", own, "", ("l", seen, data if own == 0 or not more else more))
        builder.add("backward", own, "net.weight", ("g", seen, data if own == 0 or not more else more))
        builder.add("update", own, "net.weight", ("w", step, *more))
        builder.add("update", own, "net.weight.step", own if lost == "optimizer" else step)
        builder.add("update", own, "group0.lr", ("lr", own // 3 if lost == "schedule" else step // 3))
    return builder.build()


def facts(run: MemoryRun) -> RunFacts:
    return RunFacts(run.run.spec.run_id, "gpu1", manifest_of(run), ())


@given(
    k=st.integers(1, STEPS - 1),
    swapped=st.booleans(),
    skipped=st.integers(0, 3),
    loader=st.sampled_from(["loader1", "loader4"]),
)
@settings(max_examples=40, deadline=None)
def test_a_planted_step_is_found_and_everything_agrees_from_there_on(
    k: int, swapped: bool, skipped: int, loader: str
) -> None:
    whole, resumed = training(), training(k, run_id="resumed", skipped=skipped, loader=loader)
    pair = compare_pair(resumed, whole) if swapped else compare_pair(whole, resumed)
    assert pair.continuation is not None
    assert (pair.continuation.step, pair.continuation.continuing) == (k, "left" if swapped else "right")
    assert pair.equal and not pair.differences
    assert pair.updates_equal == STEPS - k
    assert pair.limit is None, "both end together, so what they save in the end counts too"


@given(k=st.integers(1, STEPS - 2), lost=st.sampled_from(["torch", "order", "optimizer", "schedule"]))
@settings(max_examples=40, deadline=None)
def test_a_planted_loss_is_named_and_nothing_else(k: int, lost: str) -> None:
    whole, resumed = training(), training(k, run_id="resumed", lost=lost)
    pair = compare_pair(whole, resumed)
    assert pair.continuation is not None and pair.continuation.step == k
    found = restoration_of(pair, facts(whole), facts(resumed))
    expected = {"order": "position"}.get(lost, lost)
    if lost == "schedule" and k % 3 == 0 and k == STEPS:
        return
    assert list(found.lost) == [expected]
    assert "weights" in found.restored


def test_a_run_with_other_weights_continues_nothing() -> None:
    assert find_continuation(training(), RunBuilder(run_id="b").train().build()) is None


def test_a_run_that_starts_with_equal_weights_continues_nothing() -> None:
    assert find_continuation(training(), training(run_id="b")) is None


def test_weights_that_never_move_identify_no_step() -> None:
    """Biases of zero are those of any step; only what is initialised apart and moves identifies one."""
    ours, theirs = RunBuilder(run_id="a"), RunBuilder(run_id="b")
    for builder, value in ((ours, "a"), (theirs, "b")):
        builder.add("init", 0, "net.weight", value).add("init", 0, "net.bias", 0)
        for step in range(3):
            builder.add("update", step, "net.weight", (value, step)).add("update", step, "net.bias", 0)
    assert find_continuation(ours.build(), theirs.build()) is None


def test_a_step_that_was_not_recorded_is_not_found() -> None:
    assert find_continuation(training(stop=4), training(6, run_id="b")) is None


def test_buffers_that_a_checkpoint_leaves_out_are_lost() -> None:
    whole, resumed = training(), training(5, run_id="b")
    key = next(key for key in resumed.content if key.stage is Stage.INIT)
    rows = resumed.content[key][0]
    rows.append(replace(rows[0], site="net.mean"))
    found = find_continuation(whole, resumed)
    assert found is not None and found.lost == ("net.mean",)


def test_a_longer_resumed_run_is_compared_to_the_end_of_the_whole_one() -> None:
    pair = compare_pair(training(stop=8), training(4, 16, run_id="b"))
    assert pair.continuation is not None and pair.limit == 8
    assert pair.equal and pair.updates_equal == 4


def test_a_run_that_begins_where_the_other_ends_has_no_step_in_common() -> None:
    pair = compare_pair(training(stop=6), training(6, run_id="b"))
    assert pair.continuation is not None and pair.limit == 6
    assert pair.updates_equal is None


@pytest.mark.parametrize("stage", [Stage.ORDER, Stage.FORWARD, Stage.UPDATE])
def test_a_difference_has_the_step_of_the_whole_run(stage: Stage) -> None:
    resumed = RunBuilder(run_id="b")
    resumed.rows = [row for rows in training(4, run_id="b").content.values() for step in rows.values() for row in step]
    resumed.steps = STEPS - 4
    built = resumed.change(stage.word, 3, "other").build()
    pair = compare_pair(training(), built)
    assert pair.differences[Node(stage)].step == 7


def with_notes(run: MemoryRun, *notes: tuple[int, str, str]) -> MemoryRun:
    """The run with a note of what an object keeps: (step, kind, value)."""
    made = []
    for number, (step, kind, value) in enumerate(notes):
        row = {"site": "Plan.level", "kind": kind, "digest": value, "text": value, "file": "{cwd}/plan.py", "line": 4}
        made.append({"kind": "kept-state", "step": step, "first": number == 0, "values": [row]})
    run.sealed[0] = replace(run.sealed[0], detail={**run.sealed[0].detail, "notes": made})
    return run


@pytest.mark.parametrize(
    ("kind", "state"),
    [("generator", "private"), ("model", "ema"), ("schedule", "schedule"), ("scaler", "scaler"), ("number", "script")],
)
def test_what_an_object_of_the_script_keeps_is_lost_or_restored(kind: str, state: str) -> None:
    whole = with_notes(training(), (0, kind, "0"), (4, kind, "8"))
    resumed = RunBuilder(run_id="b")
    resumed.rows = [row for rows in training(4, run_id="b").content.values() for step in rows.values() for row in step]
    resumed.steps = STEPS - 4
    resumed.change("loss", 0, "other")
    lost, back = with_notes(resumed.build(), (0, kind, "0")), with_notes(resumed.build(), (0, kind, "8"))
    found = restoration_of(compare_pair(whole, lost), facts(whole), facts(lost))
    assert list(found.lost) == [state]
    assert "Plan.level ({cwd}/plan.py:4)" in found.lost[state]  # type: ignore[index]
    found = restoration_of(compare_pair(whole, back), facts(whole), facts(back))
    assert not found.lost
    assert (state in found.restored) == (state != "script")


def test_a_counter_of_the_script_is_not_reported_if_the_runs_agree() -> None:
    whole = with_notes(training(), (0, "number", "0"), (4, "number", "8"))
    resumed = with_notes(training(4, run_id="b"), (0, "number", "0"))
    assert not restoration_of(compare_pair(whole, resumed), facts(whole), facts(resumed)).lost


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_checkpoint_within_an_accumulated_step_loses_gradients(done: int) -> None:
    """Four batches make a step. The resumed run begins with a later one of the step, and takes as many from there."""

    def accumulating(first: int, stop: int, shift: int, name: str) -> MemoryRun:
        builder = RunBuilder(run_id=name)
        builder.steps = stop - first
        builder.add("init", 0, "net.weight", ("w", first - 1) if first else "w0")
        for step in range(first, stop):
            for micro in range(4):
                row = (("row", step * 4 + micro + shift),)
                builder.add(
                    "order", step - first, "loader1", rows=row, dtype="py:list", occurrence=(step - first) * 4 + micro
                )
            apart = ("shifted", shift) if shift else ()
            builder.add("backward", step - first, "net.weight", ("g", step, *apart))
            builder.add("update", step - first, "net.weight", ("w", step, *apart))
        return builder.build()

    whole, resumed = accumulating(0, 6, 0, "whole"), accumulating(2, 6, done, "resumed")
    found = restoration_of(compare_pair(whole, resumed), facts(whole), facts(resumed))
    assert found.accumulated == done
    assert ("position" in found.lost) == bool(done)


@pytest.mark.parametrize("lost", ["", "optimizer1", "optimizer2"])
def test_two_optimizers_that_step_in_turn(lost: str) -> None:
    """Each step updates the weights of one of two models, and shows the state of one of two optimizers."""

    def gan(first: int, stop: int, name: str, lost: str = "") -> MemoryRun:
        builder = RunBuilder(run_id=name)
        builder.steps = stop - first
        for model in (0, 1):
            done = (first + 1 - model) // 2  # updates of this model so far
            builder.add("init", 0, f"net{model}.weight", ("w", model, done - 1) if done else ("start", model))
        apart: dict[int, tuple[str, ...]] = {}
        for step in range(first, stop):
            own, model, turn = step - first, step % 2, step // 2
            optimizer, weight = f"optimizer{model + 1}", f"net{model}.weight"
            forgets = optimizer == lost
            if own < 2 and turn and not forgets:
                builder.add("update", own, f"{optimizer}/state/{weight}.exp", ("m", model, turn - 1))
            apart[model] = ("apart",) if forgets else apart.get(model, ())
            builder.add("update", own, f"{optimizer}/settings", 0)
            later = apart[model] if own > 1 else ()
            builder.add("backward", own, weight, ("g", model, turn, *later))
            builder.add("update", own, weight, ("w", model, turn, *apart[model]))
            builder.add("update", own, f"{weight}.exp", ("m", model, turn, *apart[model]))
            builder.add("update", own, "group0.lr", ("rate", model))
        return builder.build()

    whole, resumed = gan(0, 12, "whole"), gan(6, 12, "resumed", lost)
    pair = compare_pair(whole, resumed)
    assert pair.continuation is not None and pair.continuation.step == 6
    found = restoration_of(pair, facts(whole), facts(resumed))
    assert list(found.lost) == (["optimizer"] if lost else [])
    assert set(found.restored) == ({"weights"} if lost else {"weights", "optimizer"})
    assert pair.equal is not bool(lost)


@pytest.mark.parametrize(("start", "lost"), [("1", []), ("0", ["private"])])
def test_a_generator_without_a_seed_is_not_lost_by_a_restart(start: str, lost: list[str]) -> None:
    """Its state differs in each run. One that has the state of the whole run's start got its seed, whatever a note says of the line."""
    whole = with_notes(training(), (0, "generator", "0"), (4, "generator", "8"))
    resumed = with_notes(training(4, run_id="b"), (0, "generator", start))
    note = Note("unseeded-rng", "", {"file": "{cwd}/plan.py", "line": 4})
    of_resumed = replace(facts(resumed), notes=(note,))
    assert list(restoration_of(compare_pair(whole, resumed), facts(whole), of_resumed).lost) == lost


@pytest.mark.parametrize("differs", [False, True])
def test_draws_of_skipped_batches_are_no_loss_if_the_runs_agree(differs: bool) -> None:
    """The resumed run has the state of step 4, and draws more within it: its states differ from the next step on."""
    whole = training()
    resumed = RunBuilder(run_id="b")
    resumed.rows = [row for rows in training(4, run_id="b").content.values() for step in rows.values() for row in step]
    resumed.steps = STEPS - 4
    resumed.change("rng", 1, "drawn")
    if differs:
        resumed.change("backward", 3, "other")
    built = resumed.build()
    found = restoration_of(compare_pair(whole, built), facts(whole), facts(built))
    assert list(found.lost) == (["torch"] if differs else [])
    assert ("torch" in found.restored) is not differs
