"""Tests orders against a catalog: what the machine's owner does not allow is refused in one line (docs/security.md 1, 2)."""

from __future__ import annotations

from typing import Any

import pytest
from detctl_agent.catalog.admission import Order, admit, check_ids
from detctl_agent.catalog.catalog import parse
from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher import variables
from detctl_agent.launcher.placeholders import fill, names_in
from detctl_proto.security.variable_rules import remote_problem

CATALOG = parse(
    {
        "recipes": {
            "digits": {
                "command": ["python", "train.py", "{data}", "{workers}", "{note}"],
                "folder": "/srv",
                "paths": ["data"],
                "parameters": {"data": "/data", "workers": 2, "note": ""},
                "patterns": {"workers": ["0", "2"], "data": "/data(/[a-z]+)*"},
            }
        },
        "environments": {"box": {"image": "registry.example/train:1"}},
    },
    "catalog.toml",
)


def order(**fields: Any) -> Order:
    return Order(**{"run_id": "r1", "attempt": 1, "recipe": "digits", **fields})


def test_overrides_take_the_place_of_defaults() -> None:
    admitted = admit(CATALOG, order(parameters={"workers": "0"}, variables={"OMP_NUM_THREADS": "1"}))
    assert admitted.parameters == {"data": "/data", "workers": "0", "note": ""}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"recipe": "x\x1b[31m"}, "unknown recipe 'x\\x1b[31m'"),
        ({"parameters": {"workers": "3"}}, "does not match 0|2"),
        ({"parameters": {"workers": "0\n"}}, "does not match"),
        ({"parameters": {"data": "/data/../etc"}}, "does not match"),
        ({"parameters": {"note": "$(reboot)"}}, "does not match"),
        ({"parameters": {"note": "x" * 129}}, "does not match"),
        ({"variables": {"PATH": "/tmp"}}, "variable PATH may not be set"),
        ({"variables": {"PYTHONPATH": "/tmp"}}, "variable PYTHONPATH may not be set"),
        ({"variables": {"https_proxy": "http://x"}}, "https_proxy may not be set"),
        ({"variables": {"HF_HUB_CACHE_DIR": "/x"}}, "may not be set"),
        ({"variables": {"TZ": "UTC; rm"}}, "its value may hold"),
        ({"interventions": {"listing": "sorted\n"}}, "is not sorted, shuffled"),
        ({"interventions": {"threads": "0"}}, "is not a number from 1 to 999"),
        ({"interventions": {"keep": "init"}}, "does not allow transplants: set allow_transplant = true"),
        ({"interventions": {"values": "backward"}}, "does not allow that values are kept: set allow_values = true"),
        ({"interventions": {"transplant": "init:a1.004"}}, "does not allow transplants"),
        ({"level": "row"}, "unknown level 'row'"),
        ({"step_from": 4, "step_to": 4}, "holds no step"),
    ],
)
def test_refusals(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(RunRefusedError) as caught:
        admit(CATALOG, order(**fields))
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("run_id", ["../x", "", "a/b", "A", ".x", "x" * 65, "a\n"])
def test_ids_that_are_no_names(run_id: str) -> None:
    assert check_ids(order(run_id=run_id))
    assert not check_ids(order())
    assert check_ids(order(attempt=0))


def test_no_dangerous_variable_is_on_the_allow_list() -> None:
    for name in (
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PATH",
        "HOME",
        "BASH_ENV",
        "GCONV_PATH",
    ):
        assert remote_problem(name, "x")
    assert not remote_problem("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def test_secrets_and_own_variables_are_never_inherited() -> None:
    caller = {
        "PATH": "/bin", "HF_TOKEN": "1", "AWS_SECRET_ACCESS_KEY": "2", "db_password": "3", "X_CREDENTIALS": "4",
        "DETCTL_COORDINATOR": "5", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "0", "COLOUR": "red",
    }  # fmt: skip
    assert set(variables.inherited(caller)) == {"PATH", "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES", "COLOUR"}
    assert set(variables.passed(caller, ["COL*", "HF_*"])) == {"CUDA_VISIBLE_DEVICES", "COLOUR"}


def test_pythonpath_is_prepended() -> None:
    env = {"PYTHONPATH": "/mine"}
    variables.prepend(env, "PYTHONPATH", "/probe")
    assert env == {"PYTHONPATH": "/probe:/mine"}


def test_placeholders_are_filled_once_and_json_is_left_alone() -> None:
    values = {"data": "/data/{out}", "out": "/o"}
    assert fill("--data={data}", values) == "--data=/data/{out}"
    assert fill('{"a": {"b": 1}}', values) == '{"a": {"b": 1}}'
    assert names_in(["{data}", "{out} {data}", "{}"]) == ["data", "out"]


def test_a_refused_credential_is_not_repeated() -> None:
    recipe = {
        "command": ["python", "t.py", "--password", "{word}"],
        "folder": "/srv",
        "parameters": {"word": "", "api_key": ""},
    }
    catalog = parse({"recipes": {"digits": recipe}}, "catalog.toml")
    for name in ("word", "api_key"):
        with pytest.raises(RunRefusedError, match="does not match") as caught:
            admit(catalog, order(parameters={name: "hunter2 $(x)"}))
        assert "hunter2" not in str(caught.value)
