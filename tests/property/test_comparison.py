"""Laws of the comparison: reflexive, symmetric, transitive in groups; bisection equals a linear scan; never identical without data."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.attribution.case import JudgeRequest
from detctl_coordinator.attribution.verdict.judge import judge
from detctl_coordinator.comparison.alignment import align, kind_of
from detctl_coordinator.comparison.first_divergence import Side, compare_streams, first_chain_difference
from detctl_coordinator.comparison.groups import group_runs
from detctl_coordinator.comparison.live import stages_answered
from detctl_coordinator.comparison.pair import compare_pair
from detctl_coordinator.domain.fingerprint import Stage, StreamKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.memory_runs import MemoryRun, RunBuilder

KEY = StreamKey(0, Stage.UPDATE)
STAGES = ("listing", "rng", "init", "order", "sample", "batch", "forward", "loss", "backward", "update")
# step -> values recorded there; a missing step has no entry
STREAMS = st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 2), min_size=1, max_size=3), max_size=12)
CHANGES = st.lists(st.tuples(st.sampled_from(STAGES), st.integers(0, 3), st.integers(0, 1), st.booleans()), max_size=3)


def stream(steps: dict[int, list[int]], name: str = "gpu1") -> MemoryRun:
    builder = RunBuilder(name)
    for step in sorted(steps):
        for value in steps[step]:
            builder.add("update", step, "w", value)
    return builder.ended("exit", steps=13).build()


def changed(name: str, changes: list[tuple[str, int, int, bool]], twin: int = 0) -> MemoryRun:
    builder = RunBuilder(name, twin).train(4)
    for stage, step, value, onward in changes:
        builder.change(stage, step, value, onward=onward)
    return builder.build()


def sums(run: MemoryRun) -> dict[int, tuple[int, bytes]]:
    return {entry.step: (entry.count, entry.sum) for entry in run.index.get(KEY, [])}


@given(STREAMS, STREAMS)
@settings(max_examples=200, deadline=None)
def test_first_divergence_is_that_of_a_linear_scan(left: dict[int, list[int]], right: dict[int, list[int]]) -> None:
    a, b = stream(left), stream(right, "gpu2")
    sides = Side.of(a, KEY, None), Side.of(b, KEY, None)
    ours, theirs = a.index.get(KEY, []), b.index.get(KEY, [])
    linear = next((i for i, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x.chain != y.chain), None)
    assert first_chain_difference(*sides) == linear
    by_step = sorted(step for step in sums(a).keys() | sums(b).keys() if sums(a).get(step) != sums(b).get(step))
    found = compare_streams(*sides)
    assert (found.step if found else None) == (by_step[0] if by_step else None)
    if found is not None:
        assert found.differing_steps == len(by_step)
        last = max(sums(a).keys() | sums(b).keys())
        assert (found.lasting == "persistent") is (last in by_step)
    mirrored = compare_streams(sides[1], sides[0])
    assert (found and found.step, found and found.equal_from) == (
        mirrored and mirrored.step,
        mirrored and mirrored.equal_from,
    )


@given(CHANGES, CHANGES)
@settings(max_examples=60, deadline=None)
def test_reflexive_and_symmetric(left: list, right: list) -> None:  # type: ignore[type-arg]
    a, b = changed("gpu1", left), changed("gpu2", right)
    assert not compare_pair(a, a).differences
    there, back = compare_pair(a, b), compare_pair(b, a)
    assert {n: (d.step, d.kind, d.equal_from) for n, d in there.differences.items()} == {
        n: (d.step, d.kind, d.equal_from) for n, d in back.differences.items()
    }
    assert [r.node for r in there.roots] == [r.node for r in back.roots]
    assert there.different == back.different
    # A difference enters somewhere: whoever differs in what decides has a root.
    assert bool(there.roots) is there.different


@given(st.lists(CHANGES, min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_groups_are_classes_of_equality(all_changes: list) -> None:  # type: ignore[type-arg]
    runs = [changed("gpu1", changes, twin) for twin, changes in enumerate(all_changes)]
    overall, by_stage = group_runs(runs, compare_pair)
    assert sorted(id(r) for group in overall for r in group) == sorted(map(id, runs))
    home = {id(run): position for position, group in enumerate(overall) for run in group}
    for a in runs:
        for b in runs:
            pair = compare_pair(a, b)
            assert (home[id(a)] == home[id(b)]) is not pair.different
            for stage, groups in by_stage.items():
                together = any(a in group and b in group for group in map(list, groups))
                assert together is all(node.stage is not stage for node in pair.differences)


ROWS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(ROWS, ROWS)
def test_permutation_content_or_structure(left: list[int], right: list[int]) -> None:
    a = RunBuilder().add("batch", 0, "0", rows=tuple(left)).rows
    b = RunBuilder().add("batch", 0, "0", rows=tuple(right)).rows
    found = align(a, b)
    if left == right:
        assert found == []
    elif len(left) != len(right):
        assert kind_of(found) == "structure"
    else:
        assert kind_of(found) == ("permutation" if sorted(left) == sorted(right) else "content")


@given(st.sampled_from(["entry", "stream", "seal", "chain", "all", "steps", "incomplete"]), st.data())
@settings(max_examples=80, deadline=None)
def test_never_identical_when_a_run_lacks_data(what: str, data: st.DataObject) -> None:
    good, bad = changed("gpu1", []), changed("gpu1", [], 1)
    key = data.draw(st.sampled_from(sorted(bad.index)))
    if what == "entry":
        at = data.draw(st.integers(0, len(bad.index[key]) - 1))
        del bad.index[key][at]
        if not bad.index[key]:
            del bad.index[key]
    elif what == "stream":
        del bad.index[key]
    elif what == "seal":
        bad.sealed = {}
    elif what == "chain":
        last = bad.index[key][-1]
        bad.index[key][-1] = replace(last, chain=bytes(16))
    elif what == "all":
        bad.index, bad.content = {}, {}
    elif what == "steps":
        bad.sealed = {rank: replace(seal, steps_finished=0) for rank, seal in bad.sealed.items()}
    else:
        bad.sealed = {rank: replace(seal, complete=False) for rank, seal in bad.sealed.items()}
    verdict = judge(JudgeRequest("a1", "digits", (good, bad)))
    assert verdict.outcome == "unverified" and verdict.unverified_because
    assert verdict.exit_code == 3


@given(CHANGES)
@settings(max_examples=40, deadline=None)
def test_live_answers_only_what_differs_down_to_the_update(changes: list) -> None:  # type: ignore[type-arg]
    a, b = changed("gpu1", []), changed("gpu2", changes)
    answer = stages_answered([a, b])
    updates = compare_streams(Side.of(a, KEY, None), Side.of(b, KEY, None))
    if answer is not None:
        assert updates is not None and answer >= updates.step
    else:
        assert stages_answered([a]) is None
