"""Logical names of paths, the owner of a frame's code, and the parts of a command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from detctl_probe.process import callers, commandline
from detctl_probe.process.paths import Places


def test_the_longest_place_wins(tmp_path: Path) -> None:
    inner = tmp_path / "work" / "data"
    inner.mkdir(parents=True)
    places = Places({"cwd": str(tmp_path / "work"), "data": str(inner)})
    assert places.logical(str(inner / "train" / "a.png")) == "{data}/train/a.png"
    assert places.logical(str(inner)) == "{data}"
    assert places.logical(str(tmp_path / "work" / "train.py")) == "{cwd}/train.py"
    assert places.logical(str(tmp_path / "workshop")) == str(tmp_path / "workshop")


def test_links_are_followed_to_their_place(tmp_path: Path) -> None:
    real = tmp_path / "real" / "data"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    for declared, used in ((tmp_path / "link", real), (real, tmp_path / "link")):
        assert Places({"data": str(declared)}).logical(str(used / "a.txt")) == "{data}/a.txt"


def test_the_root_can_be_a_place() -> None:
    assert Places({"all": "/"}).logical("/etc/hosts") == "{all}/etc/hosts"


def test_relative_paths_are_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Places({"cwd": str(tmp_path)}).logical("a/../b.txt") == "{cwd}/b.txt"


def test_kinds_of_code(tmp_path: Path) -> None:
    known = callers.Callers(Places({"cwd": str(tmp_path)}))
    assert known.kind(str(tmp_path / "train.py")) == callers.USER
    assert known.kind(str(tmp_path / ".venv/lib/python3.11/site-packages/torch/x.py")) == callers.PACKAGE
    assert known.kind(os.__file__) == callers.STDLIB
    assert known.kind("<frozen importlib._bootstrap>") == callers.STDLIB
    assert known.kind("<string>") == callers.USER
    assert known.kind(callers.__file__) == callers.PROBE


@pytest.mark.parametrize(
    ("line", "kind", "target", "arguments"),
    [
        (["python", "train.py", "--seed", "0"], "script", "train.py", ["--seed", "0"]),
        (["python", "-u", "-X", "dev", "-W", "error", "train.py", "-c"], "script", "train.py", ["-c"]),
        (["python", "-m", "pkg.train", "a"], "module", "pkg.train", ["a"]),
        (["python", "-um", "pkg.train"], "module", "pkg.train", []),
        (["python", "-mpkg"], "module", "pkg", []),
        (["python", "-c", "print()", "x"], "code", "print()", ["x"]),
        (["python", "-Xdev", "-Wignore", "t.py"], "script", "t.py", []),
        (["python", "--check-hash-based-pycs", "always", "t.py"], "script", "t.py", []),
        (["python", "--", "-odd.py"], "script", "-odd.py", []),
        (["python"], "nothing", "", []),
        (["python", "-", "x"], "nothing", "", ["x"]),
        (["python", "-c"], "code", "", []),
    ],
)
def test_command_lines(line: list[str], kind: str, target: str, arguments: list[str]) -> None:
    assert commandline.parse(line) == (kind, target, arguments)


@pytest.mark.parametrize(
    ("line", "launcher", "helper"),
    [
        (["python", "/venv/bin/torchrun", "train.py"], True, False),
        (["python", "-m", "torch.distributed.run", "train.py"], True, False),
        (["python", "/venv/bin/accelerate", "launch", "train.py"], True, False),
        (["python", "/venv/bin/accelerate", "env"], False, False),
        (["python", "-m", "accelerate.commands.launch", "train.py"], True, False),
        (["python", "train.py", "torchrun"], False, False),
        (["python", "-c", "from multiprocessing.resource_tracker import main;main(3)"], False, True),
        (["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"], False, False),
        (["python", "/x/torch/_inductor/compile_worker/__main__.py", "--pickler"], False, True),
    ],
)
def test_launchers_and_helpers(line: list[str], launcher: bool, helper: bool) -> None:
    command = commandline.parse(line)
    assert (command.launcher, command.helper) == (launcher, helper)
