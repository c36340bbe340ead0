"""Which facts split three and more machines as their runs do."""

from __future__ import annotations

from detctl_coordinator.attribution.case import JudgeRequest
from detctl_coordinator.attribution.verdict.judge import judge
from detctl_coordinator.attribution.verdict.partition import matching_facts
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory_runs import RunBuilder


def verdict_of(threads: dict[str, str], zone: dict[str, str], acts: str):
    runs = []
    for machine in threads:
        for twin in (0, 1):
            variables = {"OMP_NUM_THREADS": threads[machine], "TZ": zone[machine]}
            builder = RunBuilder(machine, twin).fact("variables", variables).train(steps=2)
            value = variables[acts] if acts else machine
            runs.append(builder.carry("backward", "update", value=value).build())
    return judge(JudgeRequest("a1", "digits", tuple(runs), window=(0, None)))


def test_the_fact_that_splits_them_alike_is_named_and_the_other_is_not() -> None:
    verdict = verdict_of({"a": "1", "b": "1", "c": "2"}, {"a": "UTC", "b": "Asia/Tokyo", "c": "UTC"}, "OMP_NUM_THREADS")
    notes = [note for note in verdict.notes if "split them into the same groups" in note]
    assert len(notes) == 1 and "OMP_NUM_THREADS" in notes[0] and "TZ" not in notes[0] and "25 %" in notes[0]


def test_two_machines_or_machines_that_all_differ_give_no_note() -> None:
    same = dict.fromkeys("abc", "1")
    assert not [
        n for n in verdict_of({"a": "1", "b": "2"}, {"a": "UTC", "b": "UTC"}, "OMP_NUM_THREADS").notes if "split" in n
    ]
    assert not [note for note in verdict_of(same, same, "").notes if "split" in note]


labels = st.sampled_from(["a", "b", "c", "d"])
values = st.fixed_dictionaries({label: st.sampled_from("12") for label in "abcd"})


@given(values, values, values)
def test_named_facts_split_as_the_runs_do(threads, zone, target) -> None:
    facts = {label: {"variables.OMP_NUM_THREADS": threads[label], "variables.TZ": zone[label]} for label in "abcd"}
    split = frozenset(frozenset(x for x in "abcd" if target[x] == value) for value in set(target.values()))
    alike, both = matching_facts(facts, split)
    for key in alike:
        assert (
            frozenset(
                frozenset(x for x in "abcd" if facts[x][key] == value) for value in {facts[x][key] for x in "abcd"}
            )
            == split
        )
    if both:
        pairs = {x: (facts[x][both[0]], facts[x][both[1]]) for x in "abcd"}
        assert not alike
        assert frozenset(frozenset(x for x in "abcd" if pairs[x] == value) for value in set(pairs.values())) == split
