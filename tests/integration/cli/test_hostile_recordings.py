"""Recordings that somebody has tampered with: each command ends in one line; nothing hangs, fills the memory or looks like our defect."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from detctl_cli.exits import Exit
from detctl_cli.local import session
from detctl_cli.main import main
from detctl_cli.recordings import capture

from tests.integration.cli.conftest import Deployment
from tests.support import hostile_recordings

pytestmark = pytest.mark.slow
JSON_SHARE = (
    11  # every eleventh of the JSON cases: a prime beside the number of values, so that each key and each value comes
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.integration.cli.conftest import deployment

    made: Deployment = deployment.__wrapped__(tmp_path_factory.mktemp("hostile"))
    made.environ.update({name: os.environ[name] for name in ("XDG_RUNTIME_DIR",) if name in os.environ})
    ran = made.run("record", "-o", "intact", "--steps", "0:3", "--", "python", "train.py", "--seed")
    assert ran.returncode == 0, ran.stderr
    return made.folder / "intact"


@pytest.fixture
def one_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One coordinator for all comparisons of a test: starting one takes a second."""
    with session.temporary_store() as coordinator:
        monkeypatch.setattr(session, "temporary_store", lambda report: contextlib.nullcontext(coordinator))
        yield


def check(name: str, capsys: pytest.CaptureFixture[str], *arguments: str, notes: int = 0) -> int:
    """Runs a command in this process and returns its exit code; notes: lines of progress that may stand before the one."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert code in (Exit.IDENTICAL, Exit.DIFFERENT, Exit.TROUBLE, Exit.UNVERIFIED), name
    assert "defect" not in err and "Traceback" not in out + err and "failed: " not in err, (name, err)
    if code == Exit.TROUBLE:
        assert out == "" and err.startswith("detctl: "), (name, out, err)
        assert 1 <= err.count("\n") <= 1 + notes, (name, err)
    return code


def changed(intact: Path, place: Path, change: hostile_recordings.Change) -> Path:
    folder = place / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(intact, folder)
    change(folder)
    return folder


def test_files_that_are_not_files(
    intact: Path, tmp_path: Path, one_store: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, change in hostile_recordings.special_files():
        code = check(name, capsys, "compare", str(changed(intact, tmp_path, change)), str(intact))
        if name.startswith("run.json"):
            assert code != Exit.IDENTICAL, name
        if name.startswith(("run.json: a", "spool/log: a", "manifest.json: a")):
            assert code == Exit.TROUBLE or "TiB" in name, name
        if name.startswith("spool"):
            assert code in (Exit.TROUBLE, Exit.UNVERIFIED), name


def test_spools_that_are_cut_flipped_or_made_up(
    intact: Path, tmp_path: Path, one_store: None, capsys: pytest.CaptureFixture[str]
) -> None:
    log = (intact / "spool/log").read_bytes()
    for name, change in hostile_recordings.spools(log, random.Random(0)):
        code = check(name, capsys, "compare", str(changed(intact, tmp_path, change)), str(intact))
        assert code != Exit.IDENTICAL or "other" in name, name


def test_json_of_other_values(
    intact: Path, tmp_path: Path, one_store: None, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = list(hostile_recordings.json_values(documents(intact)))
    for name, change in cases[::JSON_SHARE]:
        check(name, capsys, "compare", str(changed(intact, tmp_path, change)), str(intact))


@pytest.mark.soak
def test_json_of_all_other_values(
    intact: Path, tmp_path: Path, one_store: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, change in hostile_recordings.json_values(documents(intact)):
        check(name, capsys, "compare", str(changed(intact, tmp_path, change)), str(intact))


def test_zoom_of_other_commands(
    intact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "last.pt").write_bytes(b"x")
    monkeypatch.setattr(capture, "capture", lambda *_, **__: capture.Captured(Exit.TROUBLE, "not trained here"))
    monkeypatch.chdir(intact.parent)
    for name, change in hostile_recordings.json_values(documents(intact), keys=("command", "machine")):
        bad = changed(intact, tmp_path, change)
        arguments = ("zoom", str(bad), str(intact), "--from", str(tmp_path / "last.pt"), "--", "--resume", "{from}")
        assert check(name, capfd, *arguments, notes=4) in (Exit.TROUBLE, Exit.UNVERIFIED), name


def test_folders_of_any_name(intact: Path, tmp_path: Path, one_store: None, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate((b"\xff\xfe", b"two\nlines", b"\x1b[31m", "\u202e".encode(), b"a" * 255)):
        place = os.path.join(os.fsencode(tmp_path), name)
        shutil.copytree(os.fsencode(intact), place)
        assert check(str(number), capsys, "compare", os.fsdecode(place), str(intact)) == Exit.IDENTICAL
        os.unlink(os.path.join(place, b"run.json"))
        assert check(str(number), capsys, "compare", os.fsdecode(place), str(intact)) == Exit.TROUBLE


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_checkpoints_that_are_not_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / f"good-{name}"
    good.write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    for target in ("/dev/zero", str(tmp_path / "pipe")):
        link = tmp_path / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert check(target, capsys, "compare", str(link), str(good)) == Exit.TROUBLE


def documents(intact: Path) -> dict[str, Any]:
    return {name: json.loads((intact / name).read_text()) for name in ("run.json", "manifest.json")}
