"""How a recording is repeated: which of its facts a replay gets, and which it cannot have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from detctl_cli.recordings.folder import Recording
from detctl_cli.recordings.replay import FactNotSet, facts_that_differ, replay_of

MARK = "[redacted 0123456789abcdef:0123456789abcdef0123456789abcdef]"
BIN = str(Path(sys.executable).parent)


def recording(**facts):
    run = {"command": ["python", "train.py"], **facts.get("run", {})}
    return Recording(Path("a"), run, facts.get("manifest", {}))


def test_recorded_variables_replace_those_of_the_caller():
    variables = {"PATH": BIN, "LR": "0.1", "COOKIE": MARK, "TMPDIR": "{runtime}/t", "PYTHONPATH": "{run}/probe:/mine"}
    caller = {"PATH": "/usr/bin", "LR": "0.2", "EXTRA": "1", "COOKIE": "ours", "DETCTL_X": "1", "MY_TOKEN": "t"}
    replay = replay_of(recording(manifest={"variables": variables}), caller, Path("/"))
    assert dict(replay.environ) == {
        "PATH": BIN, "LR": "0.1", "COOKIE": "ours", "DETCTL_X": "1", "MY_TOKEN": "t", "PYTHONPATH": "/mine",
    }  # fmt: skip
    assert replay.could_not_set == ()


def test_without_recorded_variables_the_caller_s_are_used():
    assert dict(replay_of(recording(), {"PATH": BIN, "A": "1"}, Path("/")).environ) == {"PATH": BIN, "A": "1"}


@pytest.mark.parametrize(
    ("facts", "caller", "expected"),
    [
        ({"run": {"folder": "/no/such"}}, {"PATH": BIN}, FactNotSet("a", "folder", "/no/such", "/")),
        (
            {"manifest": {"variables": {"PATH": "/no/such"}}},
            {"PATH": BIN},
            FactNotSet("a", "variables.PATH", "/no/such", BIN),
        ),
        (
            {"manifest": {"python": {"executable": "/no/such/python"}}},
            {"PATH": BIN},
            FactNotSet("a", "python.executable", "/no/such/python", f"{BIN}/python"),
        ),
        (
            {"run": {"interventions": {"transplant": "init:x"}}},
            {"PATH": BIN},
            FactNotSet("a", "intervention transplant", "init:x"),
        ),
    ],
)
def test_what_is_gone_is_listed(facts, caller, expected):
    assert replay_of(recording(**facts), caller, Path("/")).could_not_set == (expected,)


def test_the_recorded_folder_interpreter_and_interventions_are_used(tmp_path):
    facts = {
        "run": {"folder": str(tmp_path), "interventions": {"workers": "0", "unknown": "x"}},
        "manifest": {"python": {"executable": sys.executable}, "variables": {"PATH": "/usr/bin:/bin"}},
    }
    replay = replay_of(recording(**facts), {"PATH": BIN}, Path("/"))
    assert replay.folder == tmp_path and dict(replay.interventions) == {"workers": "0"}
    assert [fact.fact for fact in replay.could_not_set if fact.fact.startswith("interv")] == ["intervention unknown"]


def test_facts_of_replays_that_differ_from_their_recordings():
    environment = {
        "machine.kernel": {"m/a/base": "6", "m/b/base": "6", "m/c/base": "7"},
        "variables.SEED": {"m/a/base": "1", "m/b/base": "2", "m/c/base": "1"},
        "variables.TMPDIR": {"m/a/base": "1", "m/b/base": "2", "m/c/base": "3"},
        "variables.SHLVL": {"m/a/base": "1", "m/b/base": "2", "m/c/base": "3"},
    }
    folders = {"m/a/base/twin-0": "one", "m/b/base/twin-0": "two"}
    pairs = {"m/a/base/twin-0": "m/c/base/twin-0", "m/b/base/twin-0": "m/c/base/twin-1"}
    found = facts_that_differ(environment, folders, pairs)
    assert found == [
        FactNotSet("two", "variables.SEED", "2", "1"),
        FactNotSet("one", "machine.kernel", "6", "7"),
        FactNotSet("two", "machine.kernel", "6", "7"),
    ]
    assert facts_that_differ(None, {}, {}) == []
