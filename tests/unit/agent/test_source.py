"""The set of files of a recipe's folder, its digest and its copies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from detctl_agent.errors import SourceError
from detctl_agent.runs import arguments
from detctl_agent.source import source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "recipe"
    (place / "pkg").mkdir(parents=True)
    (place / "train.py").write_text("print(1)\n")
    (place / "pkg" / "model.py").write_text("x = 1\n")
    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "train.pyc").write_text("junk")
    (place / ".gitignore").write_text("data/\n*.ckpt\n")
    (place / "data").mkdir()
    (place / "data" / "a.png").write_text("image")
    (place / "old.ckpt").write_text("weights")
    return place


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_without_git_all_but_the_exclude_list(folder: Path) -> None:
    found = source.scan(folder)
    assert found.paths == (".gitignore", "data/a.png", "old.ckpt", "pkg/model.py", "train.py")
    assert found.git_commit == ""


def test_with_git_what_is_tracked_or_not_ignored(folder: Path) -> None:
    git(folder, "init")
    git(folder, "add", "train.py")
    git(folder, "commit", "-m", "one")
    found = source.scan(folder)
    assert found.paths == (".gitignore", "pkg/model.py", "train.py")
    assert found.git_commit.endswith("+changes")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "two")
    assert len(source.scan(folder).git_commit) == 40
    assert source.scan(folder).digest == found.digest


def test_a_configured_fsmonitor_is_not_run(folder: Path, tmp_path: Path) -> None:
    git(folder, "init")
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git(folder, "config", "core.fsmonitor", str(program))
    assert source.scan(folder).paths
    assert not (tmp_path / "ran").exists()


def _content(folder: Path) -> None:
    (folder / "train.py").write_text("print(2)\n")


def _name(folder: Path) -> None:
    (folder / "train.py").rename(folder / "main.py")


def _mode(folder: Path) -> None:
    (folder / "train.py").chmod(0o755)


def _link(folder: Path) -> None:
    (folder / "more.py").symlink_to("train.py")


@pytest.mark.parametrize("change", [_content, _name, _mode, _link])
def test_the_digest_changes_with_content_path_mode_and_links(folder: Path, change: Callable[[Path], None]) -> None:
    before, signature = source.scan(folder), source.signature(folder)
    change(folder)
    assert source.scan(folder).digest != before.digest
    assert source.signature(folder) != signature
    assert source.changes(before)


def test_neither_place_nor_time_nor_other_mode_bits_change_the_digest(folder: Path, tmp_path: Path) -> None:
    before = source.scan(folder).digest
    moved = folder.rename(tmp_path / "elsewhere")
    os.utime(moved / "train.py", (1, 1))
    (moved / "train.py").chmod(0o600)
    assert source.scan(moved).digest == before


def test_a_copy_is_the_same_source(folder: Path, tmp_path: Path) -> None:
    (folder / "train.py").chmod(0o755)
    (folder / "inside").symlink_to("pkg/model.py")
    (tmp_path / "shared").mkdir()
    (folder / "outside").symlink_to("../shared")
    found = source.scan(folder)
    source.copy(found, tmp_path / "deep" / "work")
    work = tmp_path / "deep" / "work"
    assert source.scan(work).digest == found.digest
    assert os.access(work / "train.py", os.X_OK)
    assert (work / "inside").resolve() == work / "pkg" / "model.py"
    assert (work / "outside").resolve() == tmp_path / "shared"
    (work / "train.py").write_text("changed")
    assert source.changes(found) == ""


def test_what_was_recorded_is_no_source(folder: Path) -> None:
    before = source.scan(folder).digest
    for name in ("check1", "runs/check2"):
        (folder / name / "spool").mkdir(parents=True)
        (folder / name / "run.json").write_text("{}")
        (folder / name / "stdout").write_text("x")
    assert source.scan(folder).digest == before


def test_a_folder_that_is_gone_or_too_large(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"does not exist: correct `folder`"):
        source.scan(folder / "nowhere")
    (folder / "big").write_bytes(bytes(2000))
    with pytest.raises(SourceError, match="keep data elsewhere"):
        source.scan(folder, 1000)


def test_arguments_lead_into_the_copy(folder: Path, tmp_path: Path) -> None:
    git(folder, "init")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    found = source.scan(folder)
    work = tmp_path / "work"
    source.copy(found, work)
    argv = ["python", str(folder / "train.py"), "data", f"--more={folder}/data", str(outside), "--steps", "5"]
    words = arguments.into_copy(argv, found.folder, work, 1_000_000)
    assert words == ["python", str(work / "train.py"), "data", f"--more={work}/data", str(outside), "--steps", "5"]
    assert (work / "data" / "a.png").read_text() == "image"
    assert not (work / "data").is_symlink()
    assert arguments.named_folders(words, work) == {"arg1": str(outside)}


def test_an_argument_too_large_to_copy_is_linked(folder: Path, tmp_path: Path) -> None:
    git(folder, "init")
    found = source.scan(folder)
    source.copy(found, tmp_path / "work")
    arguments.into_copy(["python", "data"], found.folder, tmp_path / "work", 1)
    assert (tmp_path / "work" / "data").is_symlink()


def test_a_snapshot_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)")
    (folder / "run.sh").write_text("true")
    (folder / "run.sh").chmod(0o755)
    taken = source.snapshot(source.scan(folder), tmp_path / "snapshots" / "recipe")
    (folder / "log.txt").write_text("a line that the run itself printed")
    (folder / "train.py").write_text("print(2)")

    source.copy(taken, tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["run.sh", "train.py"]
    assert (tmp_path / "work" / "train.py").read_text() == "print(1)"
    assert source.scan(tmp_path / "work").digest == taken.digest
