"""The interventions of the contract are those that the probe has, with values on which it acts."""

from __future__ import annotations

import ast
from pathlib import Path

import detctl_probe.intervene
import pytest
from detctl_proto.interventions import INTERVENTIONS, REQUESTABLE, TRANSPLANTS, VALUES


def names_in_the_probe() -> set[str]:
    found = set()
    for path in Path(detctl_probe.intervene.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NAME":
                found.add(ast.literal_eval(node.value))
    return found


def test_the_probe_has_each_intervention() -> None:
    assert names_in_the_probe() == set(INTERVENTIONS)


def test_what_users_may_set() -> None:
    assert set(INTERVENTIONS) - REQUESTABLE == {"bare", "fault", VALUES, *TRANSPLANTS}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bare", "31"), ("fault", "ulp:3"), ("keep", "init+batch+rng"), ("listing", "shuffled:7"), ("seed", "0:steps"),
        ("threads", "16"), ("transplant", "init+rng:a1b2c3d4e5.004"), ("workers", "0"), ("completion", "asked"),
        ("values", "loss+backward"),
    ],
)  # fmt: skip
def test_values_that_act(name: str, value: str) -> None:
    assert INTERVENTIONS[name].accepts(value)
    assert not INTERVENTIONS[name].accepts(f"{value}\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", "0"),
        ("workers", "-1"),
        ("seed", "²"),
        ("listing", "random"),
        ("keep", "weights"),
        ("values", "batch"),
    ],
)
def test_values_that_do_not_act(name: str, value: str) -> None:
    assert not INTERVENTIONS[name].accepts(value)
