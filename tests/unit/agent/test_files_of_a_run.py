"""Files of a run folder, a catalog and an agent's state that are not files: the agent goes on, and says so where a person asked."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from detctl_agent.catalog import catalog
from detctl_agent.client import health
from detctl_agent.cluster import handover
from detctl_agent.errors import AgentError, CatalogError
from detctl_agent.state import spool
from detctl_agent.state.run_folder import RunFolder, RunJson
from detctl_agent.state.spool import SpoolWriter
from detctl_agent.state.state_folder import StateFolder

from tests.support.hostile_recordings import VALUES


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "r1.1")
    made.create()
    return made


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
@pytest.mark.parametrize(
    "name", ["run.json", "manifest.json", "stdout", "spool/log", "spool/acknowledged", "outcome.json"]
)
def test_none_is_waited_for_and_none_fills_the_memory(folder: RunFolder, name: str, kind: str) -> None:
    folder.write_run(RunJson("r1", state="ended"))
    path = folder.root / name
    path.unlink(missing_ok=True)
    {"pipe": os.mkfifo, "zero": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    assert (folder.read_run() is None) == (name == "run.json")
    assert folder.read_manifest() == {} and folder.output_tail() == ""
    assert spool.check(folder.spool) == spool.SpoolCheck(0, 0, 0) and list(spool.read(folder.spool)) == []
    assert spool.read_acknowledged(folder.spool) == 0 and handover.read_outcome(folder) is None


def test_an_agent_starts_over_whatever_lies_in_its_state(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    for number, value in enumerate(VALUES):
        for key in ("spool_bytes", "end", "noted", "state", "run_id", "attempt"):
            run = RunFolder(state.runs / f"{key.replace('_', '-')}-{number}.1")
            run.create()
            SpoolWriter(run.spool).close()
            content = json.dumps({**asdict(RunJson("r1", state="ended")), key: "@here@"})
            (run.root / "run.json").write_text(content.replace('"@here@"', value))
    pipe = RunFolder(state.runs / "pipe.1")
    pipe.create()
    os.mkfifo(pipe.root / "run.json")
    os.mkfifo(pipe.spool / "log")
    taken = {folder.root.name for _, folder in state.take_over()}
    assert "pipe.1" in taken
    state.prune()
    state.close()


def test_a_written_run_is_read_again(folder: RunFolder) -> None:
    run = RunJson("r1", parameters={"a": "b"}, started_unix_s=3.5, last_step=None, command=["a"], state="ended")
    folder.write_run(run)
    assert folder.read_run() == run
    folder.write("run.json", {**asdict(run), "of_a_newer_version": [1]})
    assert folder.read_run() == run


def test_a_catalog_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, says in {"pipe": "is a named pipe", "zero": "is a device", ".": "is a folder"}.items():
        with pytest.raises(CatalogError, match=says):
            catalog.load(tmp_path / name)
    (tmp_path / "catalog.toml").write_text("[recipes]\n")
    (tmp_path / "catalog.toml").chmod(0o600)
    (tmp_path / "link.toml").symlink_to("catalog.toml")
    assert catalog.load(tmp_path / "link.toml").recipes == {}


def test_a_sign_of_life_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / health.FILE)
    with pytest.raises(AgentError, match="no agent has begun"):
        health.check_sign(tmp_path, connected=False)
