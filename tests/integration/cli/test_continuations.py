"""A resumed training beside the one that was not interrupted: it is aligned by its weights, and what it lost has a name and a line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.field.field_cases import CASES
from tests.integration.cli.conftest import Deployment

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parent / "continuations"


def record(deployment: Deployment, name: str, script: str, *arguments: str) -> None:
    if not (deployment.folder / script).exists():
        shutil.copy(SCRIPTS / script, deployment.folder / script)
    ran = deployment.run("record", "-o", name, "--to-end", "--", "python", script, *arguments)
    assert ran.returncode == 0, ran.stderr


def verdict_of(deployment: Deployment, *names: str) -> dict[str, Any]:
    return json.loads(deployment.run("compare", *names, "--json").stdout)


def test_a_generator_that_no_checkpoint_holds(deployment: Deployment) -> None:
    shutil.copy(CASES / "resume_shuffle" / "train.py", deployment.folder / "shuffled.py")
    record(deployment, "full", "shuffled.py", "--epochs", "4")
    record(deployment, "resumed", "shuffled.py", "--epochs", "4", "--resume", "ckpt/epoch1.pt", "--ckpt", "other")
    verdict = verdict_of(deployment, "full", "resumed")
    assert (verdict["outcome"], verdict["origin"]) == ("different", "code")
    assert [cause["cause"] for cause in verdict["causes"]] == ["resume"]
    found = verdict["continuation"]
    assert (found["step"], found["restored"]) == (12, ["weights", "optimizer", "schedule"])
    assert found["not_restored"] == ["torch"]
    assert "{cwd}/shuffled.py:27" in found["loaded_at"]
    cause = verdict["causes"][0]
    assert cause["step"] == 12 and cause["fix_at"] == "{cwd}/shuffled.py:27"
    assert any("torch.set_rng_state(state[" in line for line in cause["change"])
    text = deployment.run("compare", "full", "resumed").stdout
    assert "The second run continues the first from step 12." in text
    assert "Not restored: torch's generator." in text


def test_a_trainer_without_loader_that_forgets_its_momentum_or_its_own_generator(deployment: Deployment) -> None:
    record(deployment, "full", "own_trainer.py")
    load = ("--load", "runs/it005.pth", "--out", "other")
    record(deployment, "momentum", "own_trainer.py", *load, "--keep-rng")
    record(deployment, "generator", "own_trainer.py", *load, "--keep-momentum")
    record(deployment, "all", "own_trainer.py", *load, "--keep-momentum", "--keep-rng")
    momentum = verdict_of(deployment, "full", "momentum")
    assert momentum["continuation"]["not_restored"] == ["optimizer"]
    assert any('.load_state_dict(blob["opt"])' in line for line in momentum["causes"][0]["change"])
    generator = verdict_of(deployment, "full", "generator")
    assert generator["continuation"]["not_restored"] == ["private"]
    for verdict in (momentum, generator):
        assert [cause["cause"] for cause in verdict["causes"]] == ["resume"]
        assert verdict["continuation"]["step"] == 5
    same = verdict_of(deployment, "all", "full")
    assert (same["outcome"], same["causes"], same["updates_equal"]) == ("identical", [], 10)
    assert same["continuation"]["not_restored"] == []
    assert same["coverage"]["steps"] == [5, 15]


def test_an_epoch_counter_and_a_schedule_that_start_again(deployment: Deployment) -> None:
    record(deployment, "full", "counted_epochs.py")
    load = ("--snapshot", "epoch0.pt", "--prefix", "other", "--more")
    record(deployment, "epoch", "counted_epochs.py", *load, "2", "--restore", "schedule")
    record(deployment, "schedule", "counted_epochs.py", *load, "1", "--restore", "epoch")
    record(deployment, "longer", "counted_epochs.py", *load, "4")
    for name, lost in (("epoch", ["epoch"]), ("schedule", ["schedule"])):
        verdict = verdict_of(deployment, "full", name)
        assert [cause["cause"] for cause in verdict["causes"]] == ["resume"], name
        # The script restores no generator either. Nothing draws from it, so it has no effect.
        assert set(verdict["continuation"]["not_restored"]) - {"torch"} == set(lost)
    longer = verdict_of(deployment, "full", "longer")
    assert (longer["outcome"], longer["updates_equal"]) == ("identical", 10)
    nothing = verdict_of(deployment, "schedule", "longer")
    assert "resume" not in [cause["cause"] for cause in nothing["causes"]]  # both continue the same checkpoint


def test_lightning_restores_no_generator(deployment: Deployment) -> None:
    pytest.importorskip("lightning")
    record(deployment, "full", "with_lightning.py")
    record(deployment, "resumed", "with_lightning.py", "--ckpt", "pl_out/eepoch=0.ckpt", "--root", "other")
    verdict = verdict_of(deployment, "full", "resumed")
    assert [cause["cause"] for cause in verdict["causes"]] == ["resume"]
    assert verdict["continuation"]["not_restored"] == ["torch"]
    assert "lightning does not restore torch's generator" in verdict["causes"][0]["fix"]


def test_twins_of_which_the_second_finds_the_checkpoint_of_the_first(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A folder outside of the training's own is not copied for each twin."""
    deployment.environ["STORE"] = os.fspath(tmp_path_factory.mktemp("store"))
    shutil.copy(SCRIPTS / "preempted.py", deployment.folder / "preempted.py")
    ran = deployment.run("audit", "--twins", "2", "--parallel", "1", "--json", "--", "python", "preempted.py")
    verdict = json.loads(ran.stdout)
    assert verdict["outcome"] == "different", ran.stderr
    assert (verdict["origin"], verdict["causes"][0]["cause"]) == ("code", "resume")
    assert verdict["continuation"]["step"] == 12
    assert verdict["continuation"]["not_restored"] == ["torch"]
