"""A handful of the zoo, so that the suite covers its runner; `python tests/zoo/run_zoo.py` runs it all."""

from __future__ import annotations

import pytest

from tests.zoo.run_zoo import run
from tests.zoo.zoo_cases import all_cases, load, problems

NAMES = ("set_order", "config_argument")


@pytest.mark.slow
def test_verdicts_on_scripts_that_nobody_tuned_for() -> None:
    wrong = {case.name: found for case, _, found, _ in run([load(name) for name in NAMES], twins=2) if found}
    assert not wrong


def test_every_header_can_be_read() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases) >= 24
    assert all(case.line.startswith("train.py:") for case in cases if case.where)


def test_a_wrong_verdict_is_told() -> None:
    case = load("time_seed")
    found = {"outcome": "identical", "origin": None, "causes": []}
    assert problems(case, found) == [
        "outcome identical, not different: None",
        "origin None, not code",
        "causes [], not ['identity-seed']",
        f"no mention of {case.line}",
    ]
