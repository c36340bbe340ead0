"""Where the time of a run went, from the times at which things were seen."""

from __future__ import annotations

from detctl_agent.recording.training_times import TrainingTimes
from detctl_agent.runs.run_clock import RunClock, training_parts
from detctl_proto.recordings.run_timings import RunTimings


def times(**seen: float) -> TrainingTimes:
    return TrainingTimes(**seen)


def test_every_part_of_a_training_has_its_time() -> None:
    seen = times(import_began=101.0, import_ended=104.0, first_step_ended=106.0, last_step_ended=110.0)
    found = training_parts(100.0, 111.5, seen)
    assert found == RunTimings(starting=1.0, importing=3.0, building=2.0, training=4.0, ending=1.5)
    assert found.total == 11.5


def test_what_was_not_seen_belongs_to_the_part_before_it() -> None:
    assert training_parts(100.0, 103.0, times()) == RunTimings(starting=3.0)
    crashed = training_parts(100.0, 107.0, times(import_began=101.0, import_ended=104.0))
    assert crashed == RunTimings(starting=1.0, importing=3.0, building=3.0)


def test_times_of_another_clock_do_not_count() -> None:
    seen = times(import_began=5.0, import_ended=9.0, first_step_ended=102.0, last_step_ended=103.0)
    assert training_parts(100.0, 104.0, seen) == RunTimings(starting=2.0, training=1.0, ending=1.0)


def test_the_first_process_that_reports_counts() -> None:
    seen = TrainingTimes()
    seen.imported("yesterday", None)
    seen.imported(2.0, 1.0)
    assert seen.import_began is None
    seen.imported(1.0, 2.0)
    seen.imported(7.0, 8.0)
    seen.step_ended(3.0)
    seen.step_ended(4.0)
    assert (seen.import_began, seen.import_ended, seen.first_step_ended, seen.last_step_ended) == (1.0, 2.0, 3.0, 4.0)


def test_the_clock_of_a_run_measures_from_its_assignment_to_its_last_acknowledgement() -> None:
    now = [0.0]
    clock = RunClock(lambda: now[0])
    now[0] = 1.0
    with clock.measure("manifest"):
        now[0] = 1.5
    with clock.measure("known_answers"):
        now[0] = 6.5
    clock.launch()
    now[0] = 9.5
    clock.end()
    found = clock.timings(TrainingTimes())
    assert found == RunTimings(preparing=1.0, manifest=0.5, known_answers=5.0, starting=3.0)
    now[0] = 9.75
    assert clock.sent(found).sending == 0.25


def test_a_run_that_never_started_was_only_prepared() -> None:
    now = [0.0]
    clock = RunClock(lambda: now[0])
    now[0] = 2.0
    found = clock.timings(TrainingTimes())
    assert found == RunTimings(preparing=2.0) and clock.sent(found) == found


def test_values_of_a_message_that_are_no_durations_become_zero() -> None:
    found = RunTimings.of(RunTimings(preparing=float("nan"), training=-1.0, ending=float("inf"), sending=0.12345))
    assert found == RunTimings(sending=0.1235) or found == RunTimings(sending=0.1234)
