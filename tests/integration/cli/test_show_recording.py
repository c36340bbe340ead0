"""`detctl show DIR` reads a recording without a coordinator."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


def test_a_recording_shows_what_ran_how_it_ended_coverage_and_costs(deployment):
    command = ("python", "train.py", "--seed", "--crash")
    deployment.run("record", "-o", "check1", "--steps", "0:8", "--", *command)
    shown = deployment.run("show", "check1")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) <= 23
    assert "command        python train.py --seed --crash" in shown.stdout
    assert "ended          exit 1" in shown.stdout
    assert "of step time" in shown.stdout
    assert "RuntimeError: as asked" in shown.stdout
    assert not (deployment.folder / ".detctl").exists()
    document = json.loads(deployment.run("show", "./check1", "--json").stdout)
    assert document["kind"] == "recording"
    assert document["recording"]["exit_code"] == 1
    assert "loss/train" in document["recording"]["seals"]["0"]["streams"]
    missing = deployment.run("show", "./check2")
    assert missing.returncode == 2
    assert "there is no such folder" in missing.stderr
