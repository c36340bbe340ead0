"""The field's cases, run for real: a verdict that is right stays right."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.field.field_cases import ABSTAINED, FAILED, HALF, RIGHT, WRONG, Case, all_cases, load, score
from tests.field.run_field import known_wrong, run

CASES = all_cases()
# One or two of each area for every run of the suite; `make soak` runs them all. `make field` prints the table. Cases whose twins may
# agree by chance, such as those that read memory which nothing fills, are not among them.
IN_EACH_RUN = {
    "one_pixel", "tf32_like", "opt_set_groups", "resume_shuffle", "resume_complete", "time_budget_lr", "path_seed", "scandir_split",
    "sql_random", "one_byte_shard", "hash_split", "rows_threads", "monitor_thread",
}  # fmt: skip


def marked(case: Case) -> Any:
    mark = pytest.mark.slow if case.name in IN_EACH_RUN else pytest.mark.soak
    return pytest.param(case, id=case.name, marks=mark)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_a_training_from_the_field(case: Case) -> None:
    if case.lacks():
        pytest.skip(f"this machine has no {', '.join(case.lacks())}")
    result = run(case, twins=2)
    known = known_wrong().get(case.name)
    if known is None:
        assert result.score.grade == RIGHT, (result.score.wrong, result.text)
    else:
        assert result.score.grade != RIGHT, f"{case.name} is right now: take it out of known_wrong.toml ({known})"
        pytest.xfail(f"{known}: {result.score.wrong}")


def test_every_case_can_be_read() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.name for case in CASES} >= IN_EACH_RUN
    assert set(known_wrong()) <= {case.name for case in CASES}
    for case in CASES:
        assert case.mode in ("audit", "record", "machines"), case.name
        assert case.outcome in ("identical", "different", "unverified"), case.name
        assert all(source.startswith("https://") for source in case.source) and case.source, case.name
        assert case.story and all(case.places()), case.name
        assert all(re.compile(pattern) for pattern in case.mentions), case.name
        assert not set(case.confirmed) - set(case.causes), case.name


def judged(case: Case, **verdict: Any) -> str:
    return score(case, {"outcome": "different", "origin": "code", "causes": [], **verdict}).grade


def test_scores_are_strict() -> None:
    case = load("hash_seedenv")
    line = next(iter(case.places()[0]))
    cause = {
        "cause": "hash-order",
        "confidence": "indicated",
        "evidence": [f"/tmp/x/{line}"],
        "fix": "sorted(unique_tags)",
    }
    assert judged(case, causes=[cause]) == RIGHT
    assert judged(case, causes=[{**cause, "evidence": [f"{line}7"]}]) == HALF  # another line
    assert judged(case, causes=[{**cause, "fix": "for name in names"}]) == HALF
    assert (
        judged(case, causes=[{**cause, "evidence": [], "clues": [{"file": "/x/train.py", "line": int(line[9:])}]}])
        == RIGHT
    )
    assert judged(case, causes=[{**cause, "cause": "unknown"}]) == ABSTAINED
    assert judged(case, outcome="unverified", origin=None) == ABSTAINED
    assert judged(case, causes=[cause, {"cause": "data-content", "confidence": "indicated"}]) == WRONG
    assert judged(case, causes=[cause], origin="hardware") == WRONG
    assert judged(case, outcome="identical", origin=None) == WRONG
    assert score(case, {"outcome": "error"}).grade == FAILED


def test_a_state_that_is_listed_wrongly_is_wrong_and_one_that_is_missing_is_half_right() -> None:
    case = replace(load("resume_shuffle"), mentions=[], fix=[], not_restored=["torch|loader"], restored=["optimizer"])
    cause = {"cause": "resume", "confidence": "indicated", "evidence": []}

    def with_lists(restored: list[str], lost: list[str]) -> str:
        return judged(case, causes=[cause], continuation={"restored": restored, "not_restored": lost})

    assert with_lists(["optimizer", "weights"], ["torch"]) == RIGHT
    assert with_lists(["weights"], ["torch"]) == HALF
    assert with_lists(["optimizer"], []) == HALF
    assert with_lists(["optimizer"], ["torch", "schedule"]) == WRONG
    assert with_lists(["optimizer", "loader"], ["torch"]) == WRONG


def test_a_cause_where_nothing_differs_is_wrong() -> None:
    case = load("benign_name")
    assert judged(case, outcome="different") == WRONG
    assert judged(case, outcome="unverified", origin=None) == ABSTAINED


def test_both_causes_must_be_named() -> None:
    case = load("two_split_index")
    named = sorted({place for places in case.places() for place in places})
    first, second = ({"cause": word, "confidence": "confirmed", "evidence": named} for word in case.causes)
    assert judged(case, causes=[first, second]) == RIGHT
    assert judged(case, causes=[first]) == HALF
    assert judged(case, causes=[first, {**second, "confidence": "indicated"}]) == HALF
