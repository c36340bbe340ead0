"""When a comparison of runs under way has nothing more to learn."""

from __future__ import annotations

from detctl_coordinator.comparison.live import stages_answered

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
    assert stages_answered([a, b]) is None
    assert stages_answered([a, RunBuilder("gpu2").build()]) is None
    assert stages_answered([]) is None


def test_a_run_under_way_is_known_up_to_what_arrived() -> None:
    a = RunBuilder("gpu1").train(6).build()
    b = RunBuilder("gpu2").train(3).carry("init", *MODEL).build()
    b.sealed = {}
    assert stages_answered([a, b]) == 0
