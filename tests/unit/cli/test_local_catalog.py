"""From a typed command to the catalog of the local agent; where local data may lie."""

from __future__ import annotations

import os
import tomllib

import pytest
from detctl_cli.errors import CliError
from detctl_cli.local.catalog import catalog_toml, recipe_name, recipe_of
from detctl_cli.local.places import data_folder, locked, prepare


def loaded(command, cwd, **options):
    return tomllib.loads(catalog_toml(recipe_of(command, cwd, copy=True, **options)))


def test_arguments_survive_toml(tmp_path):
    command = ["python", "a b.py", 'q"uo\\te', "tab\tnew\nline", "ünï", "\x7f", "", "{'a': 1}"]
    recipe = loaded(command, tmp_path)["recipes"]["a-b"]
    assert recipe["command"] == command
    assert recipe["folder"] == str(tmp_path)
    assert recipe["copy"] is True


def test_what_looks_like_a_placeholder_goes_by_a_parameter(tmp_path):
    recipe = loaded(["python", "train.py", "--name={step}", "{x}"], tmp_path)["recipes"]["train"]
    assert recipe["command"] == ["python", "train.py", "{word2}", "{word3}"]
    assert recipe["parameters"] == {"word2": "--name={step}", "word3": "{x}"}


def test_folders_outside_get_names_and_those_inside_stay(tmp_path):
    here, data = tmp_path / "here", tmp_path / "data"
    (here / "inside").mkdir(parents=True)
    data.mkdir()
    command = [
        "python",
        "t.py",
        "--data",
        str(data),
        "--more=../data",
        "--out",
        "inside",
        str(here / "inside"),
        "absent",
    ]
    recipe = loaded(command, here)["recipes"]["t"]
    inside = str(here / "inside")
    assert recipe["command"] == [
        "python",
        "t.py",
        "--data",
        "{path1}",
        "--more={path2}",
        "--out",
        "inside",
        inside,
        "absent",
    ]
    assert recipe["parameters"] == {"path1": str(data), "path2": str(data)}
    assert recipe["paths"] == ["path1", "path2"]


def test_places_that_the_command_line_gives_a_parameter_are_its_roots(tmp_path):
    here, data = tmp_path / "here", tmp_path / "data"
    here.mkdir()
    data.mkdir()
    given = [("path1", [str(data), "/other"]), ("env:X", ["/y"]), ("lr", ["/z"])]
    recipe = loaded(["python", "t.py", "--data", str(data)], here, given=given)["recipes"]["t"]
    assert recipe["roots"] == {"path1": [str(data), "/other"]}
    prefixed = loaded(["python", "t.py", "--data", str(data)], here, given=[("param:path1", ["/other", "relative"])])
    assert prefixed["recipes"]["t"]["roots"] == {"path1": ["/other"]}
    assert "roots" not in loaded(["python", "t.py", "--data", str(data)], here)["recipes"]["t"]


def test_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(CliError, match="argument 3"):
        recipe_of(["python", "t.py", "\udcff"], tmp_path, copy=True)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["bash", "./scripts/run-all.sh", "x"], "run-all.sh"),
        (["make", "train"], "make"),
        (["python", "train.py"], "train"), (["python", "-u", "src/My Train.py", "x"], "my-train"),
        (["python", "-m", "pkg.run"], "run"), (["torchrun", "--nproc", "2", "t.py"], "t"), (["./go.sh"], "go.sh"),
        (["_"], "command"),
    ],
)  # fmt: skip
def test_recipe_names(command, name):
    assert recipe_name(command) == name


def test_network_folders_are_left_for_local_scratch(tmp_path):
    mounts = f"1 0 8:1 / {tmp_path} rw - nfs server:/x rw\n"
    folder, why = data_folder(tmp_path, {"DETCTL_SCRATCH": "/scratch"}, mounts)
    assert folder.is_relative_to("/scratch")
    assert "network file system (nfs)" in why
    assert data_folder(tmp_path, {}, "") == (tmp_path / ".detctl", "")


def test_the_lock_is_held_by_whoever_inherits_it(tmp_path):
    prepare(tmp_path / ".detctl")
    assert (tmp_path / ".detctl/.gitignore").read_text() == "*\n"
    with locked(tmp_path / ".detctl") as descriptor:
        heir = os.dup(descriptor)
        with pytest.raises(CliError, match=f"process {os.getpid()}"), locked(tmp_path / ".detctl", wait_s=0):
            pass
    with pytest.raises(CliError), locked(tmp_path / ".detctl", wait_s=0):
        pass
    os.close(heir)
    with locked(tmp_path / ".detctl", wait_s=0):
        pass
