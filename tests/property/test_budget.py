"""Laws of comparing runs whose probes kept a budget: only steps that both took count, and nothing is equal that nobody compared."""

from __future__ import annotations

from typing import Any

from detctl_coordinator.attribution.case import JudgeRequest
from detctl_coordinator.attribution.verdict.judge import judge
from detctl_coordinator.comparison.first_divergence import Side, compare_streams
from detctl_coordinator.comparison.pair import compare_pair
from detctl_coordinator.comparison.steps.schedule import SAMPLED_STAGES, Schedule, schedule_of, since
from detctl_coordinator.domain.fingerprint import Stage, StreamKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.memory_runs import MemoryRun, RunBuilder

KEY = StreamKey(0, Stage.UPDATE)
STEPS = 20
PERIODS = st.sampled_from([1, 2, 4, 8])
# first step of a plan -> period; the plan from step 0 on comes to it
PLANS = st.dictionaries(st.integers(1, STEPS - 1), PERIODS, max_size=3)
SCHEDULE = st.tuples(PERIODS, PLANS).map(lambda drawn: Schedule(tuple(sorted({**drawn[1], 0: drawn[0]}.items()))))
VALUES = st.lists(st.integers(0, 1), min_size=STEPS, max_size=STEPS)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from([s.word for s in sorted(SAMPLED_STAGES)] + ["loss"]), st.integers(0, STEPS - 1), st.booleans()
    ),
    max_size=3,
)


def budget_of(schedules: dict[str, Schedule]) -> dict[str, Any]:
    """What a seal says of them."""
    starts = sorted({first for schedule in schedules.values() for first, _ in schedule.plans or ()})
    plans = []
    for start in starts:
        held = {word: max(p for p in schedule.plans or () if p[0] <= start)[1] for word, schedule in schedules.items()}
        plans.append({"from": start, "periods": {word: period for word, period in held.items() if period > 1}})
    return {"share": 0.02, "kept": True, "plans": plans}


def thinned(builder: RunBuilder, schedules: dict[str, Schedule], *, sealed: bool = True) -> MemoryRun:
    """The run without what the schedules leave out."""
    builder.rows = [
        row for row in builder.rows if row.stage.word not in schedules or schedules[row.stage.word].takes(row.step)
    ]
    if sealed:
        builder.detail["budget"] = budget_of(schedules)
    return builder.asked(budget_share=0.02).build()


def stream(values: list[int], schedule: Schedule, name: str, *, sealed: bool = True) -> MemoryRun:
    builder = RunBuilder(name)
    for step, value in enumerate(values):
        builder.add("update", step, "w", value)
    return thinned(builder.ended("exit", steps=STEPS), {"update": schedule}, sealed=sealed)


def trained(name: str, schedule: Schedule, changes: list[tuple[str, int, bool]], twin: int = 0) -> MemoryRun:
    builder = RunBuilder(name, twin).train(STEPS)
    for stage, step, onward in changes:
        builder.change(stage, step, "x", onward=onward)
    return thinned(builder, {stage.word: schedule for stage in SAMPLED_STAGES})


@given(VALUES, VALUES, SCHEDULE, SCHEDULE, st.booleans())
@settings(max_examples=300, deadline=None)
def test_only_steps_that_both_took_are_compared(
    left: list[int], right: list[int], ours: Schedule, theirs: Schedule, sealed: bool
) -> None:
    sides = tuple(
        Side.of(run, KEY, None)
        for run in (stream(left, ours, "gpu1", sealed=sealed), stream(right, theirs, "gpu2", sealed=sealed))
    )
    both = [step for step in range(STEPS) if ours.takes(step) and theirs.takes(step)]
    differing = [step for step in both if left[step] != right[step]]
    for found in (compare_streams(*sides), compare_streams(*reversed(sides))):
        assert (found.step if found else None) == (differing[0] if differing else None)
        if found is not None:
            assert not found.structural
            assert found.differing_steps == len(differing)
            assert (found.lasting == "persistent") is (both[-1] in differing)
            assert found.since <= found.step
            if sealed:
                assert found.since == max((step + 1 for step in both if step < found.step), default=0)


@given(VALUES, SCHEDULE, SCHEDULE, st.integers(0, STEPS - 1))
@settings(max_examples=200, deadline=None)
def test_a_step_that_was_to_be_taken_and_is_missing_is_a_difference(
    values: list[int], ours: Schedule, theirs: Schedule, gone: int
) -> None:
    a, b = stream(values, ours, "gpu1"), RunBuilder("gpu2")
    for step, value in enumerate(values):
        if step != gone:
            b.add("update", step, "w", value)
    other = thinned(b.ended("exit", steps=STEPS), {"update": theirs})
    found = compare_streams(Side.of(a, KEY, None), Side.of(other, KEY, None))
    if ours.takes(gone) and theirs.takes(gone):
        assert found is not None and found.step == gone and found.structural
    else:
        assert found is None


@given(SCHEDULE, SCHEDULE)
def test_chains_are_read_as_far_as_plans_agree(ours: Schedule, theirs: Schedule) -> None:
    apart = ours.same_until(theirs)
    for step in range(STEPS if apart is None else apart):
        assert ours.takes(step) == theirs.takes(step)
    run = stream([0] * STEPS, ours, "gpu1")
    known = schedule_of(run, KEY)
    assert all(known.takes(step) == ours.takes(step) for step in range(STEPS))
    assert since(ours, ours, 0) == 0


@given(SCHEDULE, SCHEDULE, CHANGES)
@settings(max_examples=100, deadline=None)
def test_what_differs_has_a_root_and_equal_runs_are_equal(ours: Schedule, theirs: Schedule, changes: list[Any]) -> None:
    clean, other = trained("gpu1", ours, []), trained("gpu2", theirs, changes)
    assert not compare_pair(clean, trained("gpu2", theirs, [])).differences
    there, back = compare_pair(clean, other), compare_pair(other, clean)
    assert bool(there.roots) is there.different is back.different
    assert [root.node for root in there.roots] == [root.node for root in back.roots]


@given(SCHEDULE, SCHEDULE, CHANGES)
@settings(max_examples=60, deadline=None)
def test_identical_is_reported_only_for_what_was_compared(ours: Schedule, theirs: Schedule, changes: list[Any]) -> None:
    runs = trained("gpu1", ours, []), trained("gpu1", theirs, changes, 1)
    verdict = judge(JudgeRequest("a1", "digits", runs, window=(0, STEPS)))
    both = [step for step in range(STEPS) if ours.takes(step) and theirs.takes(step)]
    if verdict.outcome == "identical" and len(both) < STEPS:
        assert any(
            f"of {STEPS} steps only" in note and f"update in {len(both)} steps" in note for note in verdict.notes
        )
    for run in runs:
        run.index = {key: entries for key, entries in run.index.items() if key.stage is not Stage.UPDATE}
        run.content = {key: rows for key, rows in run.content.items() if key.stage is not Stage.UPDATE}
    assert judge(JudgeRequest("a1", "digits", runs, window=(0, STEPS))).outcome != "identical"


def test_a_stage_that_was_recorded_in_no_common_step_is_not_verified() -> None:
    runs = [RunBuilder("gpu1", twin).train(6) for twin in (0, 1)]
    odd = [row for row in runs[1].rows if row.stage is not Stage.UPDATE or row.step % 2 == 1]
    runs[1].rows = odd
    even = thinned(runs[0], {"update": Schedule(((0, 2),))})
    other = runs[1].asked(budget_share=0.02).build()  # no plan is known, so the steps that exist were recorded
    verdict = judge(JudgeRequest("a1", "digits", (even, other), window=(0, 6)))
    assert verdict.outcome == "unverified"
    assert any("update was not recorded in any step by both runs" in why for why in verdict.unverified_because)


def test_a_seal_whose_plans_cannot_be_is_damage() -> None:
    for plans in ([], [{"from": 1, "periods": {}}], [{"from": 0, "periods": {"update": 0}}], [{"from": 0}], "x"):
        runs = [RunBuilder("gpu1", twin).train(4) for twin in (0, 1)]
        runs[1].detail["budget"] = {"share": 0.02, "plans": plans}
        verdict = judge(JudgeRequest("a1", "digits", tuple(run.build() for run in runs), window=(0, 4)))
        assert verdict.outcome == "unverified", plans
