"""When a comparison of runs under way has nothing more to learn."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.comparison.live import stages_answered
from detctl_coordinator.domain.run import RunState

from tests.support.memory_runs import RunBuilder

MODEL = ("forward", "loss", "backward", "update")


def test_a_difference_that_reached_the_update_is_an_answer() -> None:
    a = RunBuilder("gpu1").train(6).build()
    b = RunBuilder("gpu2").train(6).carry("init", *MODEL).build()
    assert stages_answered([a, b]) == 0


def test_later_stages_are_waited_for() -> None:
    a = RunBuilder("gpu1").train(6).build()
    half = RunBuilder("gpu2").train(6).carry("backward", "update", step=2).build()
    assert stages_answered([a, half]) is None  # the update must still show in a forward pass
    whole = RunBuilder("gpu2").train(6).carry("backward", "update", step=2).carry("forward", "loss", step=3).build()
    assert stages_answered([a, whole]) == 3


def test_equal_configurations_are_never_answered_early() -> None:
    a, b = RunBuilder("gpu1").train(6).build(), RunBuilder("gpu2").train(6).build()
    odd = RunBuilder("gpu3").train(6).carry("init", *MODEL).build()
    assert stages_answered([a, b]) is None
    assert stages_answered([a, b, odd]) is None


def test_twins_and_configurations_that_have_not_begun() -> None:
    a, b = RunBuilder("gpu1").train(6).build(), RunBuilder("gpu1", 1).train(6).carry("init", *MODEL).build()
    b.run = replace(b.run, state=RunState.RUNNING)
    assert stages_answered([a, b]) is None
    assert stages_answered([a, RunBuilder("gpu2").build()]) is None
    assert stages_answered([]) is None


def test_a_run_under_way_is_known_up_to_what_arrived() -> None:
    a = RunBuilder("gpu1").train(6).build()
    b = RunBuilder("gpu2").train(3).carry("init", *MODEL).build()
    b.sealed = {}
    assert stages_answered([a, b]) == 0


def test_a_further_twin_is_answered_once_it_differs_from_two_that_ended() -> None:
    a = RunBuilder("gpu1").train(6).build()
    b = RunBuilder("gpu1", 1).train(6).carry("init", *MODEL).build()
    c = RunBuilder("gpu1", 2).train(3).carry("init", *MODEL, value="third").build()
    c.run, c.sealed = replace(c.run, state=RunState.RUNNING), {}
    assert stages_answered([a, b, c]) == 0
    same = RunBuilder("gpu1", 2).train(3).build()
    same.run, same.sealed = replace(same.run, state=RunState.RUNNING), {}
    assert stages_answered([a, b, same]) is None, "it equals the first so far, which only the whole window can show"
    assert stages_answered([a, b, RunBuilder("gpu1", 2).build()]) is None


def test_equal_twins_train_to_their_end() -> None:
    a, b, c = (RunBuilder("gpu1", twin).train(6).build() for twin in range(3))
    c.run = replace(c.run, state=RunState.RUNNING)
    assert stages_answered([a, b, c]) is None
