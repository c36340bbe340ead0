"""`detctl record` twice, `detctl compare` of the folders, and folders that are not intact."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def recorded(deployment):
    for name, more in (("check1", ["--seed"]), ("check2", ["--seed"]), ("check3", [])):
        ran = deployment.run("record", "-o", name, "--steps", "0:4", "--", "python", "train.py", *more)
        assert ran.returncode == 0, ran.stderr
        assert f"detctl compare {name} {name}-b" in ran.stderr
    return deployment


def test_folders_are_compared_and_damage_is_never_identical(recorded):
    same = recorded.run("compare", "check1", "check2", "--json")
    assert same.returncode == 0, same.stdout + same.stderr
    assert sorted(json.loads(same.stdout)["folders"].values()) == ["check1", "check2"]
    other = recorded.run("compare", "check1", "check3")
    assert other.returncode == 1
    assert "check1 ≠ check3" in other.stdout
    verdict = json.loads(recorded.run("compare", "check1", "check3", "--json").stdout)
    assert verdict["first_divergence"]["stage"] in ("code", "init") and verdict["origin"] is None, (
        "one run a side proves no origin"
    )

    folder = recorded.folder
    log = folder / "check2/spool/log"
    intact = log.read_bytes()
    log.write_bytes(intact[:-20])
    cut = recorded.run("compare", "check1", "check2")
    assert cut.returncode == 3
    assert "the file is damaged" in cut.stdout
    log.write_bytes(intact[:40] + bytes([intact[40] ^ 1]) + intact[41:])
    assert recorded.run("compare", "check1", "check2").returncode == 3
    log.write_bytes(intact)
    (folder / "check2/run.json").write_text("{")
    torn = recorded.run("compare", "check1", "check2")
    assert torn.returncode == 3
    assert "run.json is damaged" in torn.stderr
    shutil.rmtree(folder / "check2")
    gone = recorded.run("compare", "check1", "./check2")
    assert gone.returncode == 2
    assert "check2: there is no such folder" in gone.stderr


def test_a_window_ends_between_two_steps_and_not_in_the_middle_of_a_checkpoint(deployment):
    (deployment.folder / "saving.py").write_text("""
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(9):
    optimizer.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    open("after-%d" % step, "w").close()
""")
    ran = deployment.run("record", "-o", "window", "--steps", "0:3", "--", "python", "saving.py")
    assert ran.returncode == 0, ran.stderr
    assert sorted(one.name for one in deployment.folder.glob("after-*")) == ["after-0", "after-1"]


def test_what_is_not_recorded_is_reported(deployment):
    (deployment.folder / "plain.py").write_text("print('no torch here')\n")
    plain = deployment.run("record", "-o", "plain", "--", "python", "plain.py")
    assert plain.returncode == 3
    assert plain.stdout == "no torch here\n"
    again = deployment.run("record", "-o", "plain", "--", "python", "plain.py")
    assert again.returncode == 2
    assert "exists and is not empty" in again.stderr
    as_json = deployment.run("record", "-o", "other", "--json", "--", "python", "plain.py")
    assert as_json.returncode == 3
    assert json.loads(as_json.stdout)["captured"] is False
