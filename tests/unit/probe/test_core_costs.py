"""The meter: time goes to the innermost stage, once; shares are of the steps after the first."""

from __future__ import annotations

import pytest
from detctl_probe.recording import costs as module
from detctl_probe.recording.costs import Costs, median


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def test_time_goes_to_the_innermost_stage_once(clock: list[float]) -> None:
    costs = Costs()
    outer = costs.enter("forward")
    clock[0] += 1
    inner = costs.enter("update")
    clock[0] += 2
    deeper = costs.enter()  # whatever is on
    clock[0] += 4
    costs.leave(deeper)
    costs.leave(inner)
    clock[0] += 8
    costs.leave(outer)
    clock[0] += 16  # the training's own
    assert costs.by_stage == {"forward": 9.0, "update": 6.0}


def test_what_belongs_to_no_stage_is_other(clock: list[float]) -> None:
    costs = Costs()
    outer = costs.enter()
    clock[0] += 1
    costs.leave(outer)
    costs.leave(outer)  # one too many, as after a fork inside
    assert costs.by_stage == {"other": 1.0}


def test_shares_leave_the_first_step_out(clock: list[float]) -> None:
    costs = Costs()
    for step, (own_s, probe_s) in enumerate([(100.0, 50.0), (9.0, 1.0), (7.0, 3.0), (18.0, 2.0)]):
        clock[0] += own_s
        outer = costs.enter("forward")
        clock[0] += probe_s
        costs.leave(outer)
        costs.end_step(step)
    report = costs.report()
    assert report["cost_s"] == 56.0
    assert report["step_s"] == {"steps": 3, "total": 40.0, "median": 10.0}
    assert report["share"] == {"median": 0.1, "total": 0.15, "by_stage": {"forward": 0.15}}


def test_what_is_under_way_at_a_steps_end_belongs_to_it_up_to_there(clock: list[float]) -> None:
    costs = Costs()
    costs.end_step(0)
    outer = costs.enter("other")
    clock[0] += 3
    costs.end_step(1)
    clock[0] += 5
    costs.leave(outer)
    costs.end_step(2)
    assert [one.by_stage for one in costs.steps] == [{"other": 3.0}, {"other": 5.0}]


def test_what_workers_spent_is_counted_apart(clock: list[float]) -> None:
    worker, main = Costs(), Costs()
    outer = worker.enter("sample")
    clock[0] += 2
    worker.leave(outer)
    main.add_worker(worker.take_all())
    main.add_worker(worker.take_all())
    assert main.report()["worker_cost_by_stage"] == {"sample": 2.0}
    assert main.report()["cost_s"] == 0


def test_median() -> None:
    assert [median(values) for values in ([], [3.0], [1.0, 2.0], [9.0, 1.0, 2.0])] == [0.0, 3.0, 1.5, 2.0]
