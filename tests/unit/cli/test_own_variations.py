"""--vary of a user's own variables and arguments becomes parameters of the local recipe."""

from __future__ import annotations

import tomllib

import pytest
from detctl_cli.errors import UsageError
from detctl_cli.local.catalog import catalog_toml, recipe_of
from detctl_cli.local.variations import own_variations


def made(command, cwd, *given):
    return recipe_of(command.split(), cwd, copy=True, given=given)


@pytest.mark.parametrize(
    ("command", "typed", "expected"),
    [
        ("python train.py --lr 0.5", "arg:--lr", "python train.py --lr {lr}"),
        ("python train.py --lr=0.5 --lr=0.6", "arg:--lr", "python train.py --lr=0.5 --lr={lr}"),
        ("python train.py", "arg:--lr", "python train.py --lr={lr}"),
        ("python train.py --lr -1.5", "arg:--lr", "python train.py --lr {lr}"),
        ("python train.py lr=0.5", "arg:lr", "python train.py lr={lr}"),
        ("python train.py a b", "arg:2", "python train.py a {arg-2}"),
        ("python -m pkg.train a b", "arg:1", "python -m pkg.train {arg-1} b"),
        ("./train a b", "arg:1", "./train {arg-1} b"),
        ("python train.py --seed 1", "arg:--seed", "python train.py --seed {arg-seed}"),
    ],
)
def test_the_word_that_an_argument_changes(tmp_path, command, typed, expected):
    recipe = made(command, tmp_path, (typed, ["0.1", "0.01"]))
    assert recipe.command == tuple(expected.split())
    name = recipe.parameters[typed]
    assert recipe.values == {name: ("0.1", "0.01")}
    tables = tomllib.loads(catalog_toml(recipe))["recipes"][recipe.name]
    assert tables["parameters"] == {name: "0.1"} and tables["patterns"] == {name: ["0.1", "0.01"]}


def test_variables_become_parameters_unless_any_machine_may_set_them(tmp_path):
    given = [("env:STEPS", ["0", "2"]), ("env:OMP_NUM_THREADS", ["1", "2"]), ("workers", ["0", "2"])]
    recipe = made("python train.py", tmp_path, *given)
    assert recipe.parameters == {"env:STEPS": "STEPS"}
    assert tomllib.loads(catalog_toml(recipe))["environments"]["default"]["variables"] == {"STEPS": "{STEPS}"}


def test_folders_are_compared_by_name(tmp_path):
    here = tmp_path / "here"
    for name in ("here", "a", "b"):
        (tmp_path / name).mkdir()
    folders = (str(tmp_path / "a"), str(tmp_path / "b"))
    recipe = made("python train.py", here, ("arg:--data", folders))
    assert recipe.paths == {"data": folders[0]} and recipe.roots == {"data": folders} and not recipe.values


@pytest.mark.parametrize(
    ("command", "typed", "problem"),
    [
        ("python train.py --lr", "arg:--lr", "--lr has no value in the command"),
        ("python train.py --lr --x", "arg:--lr", "--lr has no value in the command"),
        ("python train.py a", "arg:2", "the command has 1 words after the script"),
        ("python train.py a", "arg:0", "the command has 1 words after the script"),
        ("python train.py", "arg:--", "there is no name after arg:"),
        ("python train.py", "env:A-B", "is not a name for a variable"),
        ("python train.py", "env:HOME", "detctl sets HOME for each run"),
        ("python train.py", "env:HF_TOKEN", "looks like a secret"),
    ],
)
def test_what_cannot_be_set(tmp_path, command, typed, problem):
    with pytest.raises(UsageError) as raised:
        made(command, tmp_path, (typed, ["1", "2"]))
    assert problem in str(raised.value.message)


def test_one_word_and_one_name_change_once(tmp_path):
    with pytest.raises(UsageError, match="the same word"):
        made("python train.py --lr 1", tmp_path, ("arg:--lr", ["1", "2"]), ("arg:2", ["1", "2"]))
    with pytest.raises(UsageError, match="given twice"):
        own_variations([("env:A", ["1"]), ("env:A", ["2", "3"])])
    names = [one.parameter for one in own_variations([("env:lr", ["1"]), ("arg:--lr", ["1", "2"])])]
    assert names == ["lr", "lr-2"]
