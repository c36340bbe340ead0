"""Runs that train alike are identical, whatever their evaluations do, unless an evaluation reaches the training."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

# EVAL: an evaluation before the training. KIND: what differs in every run.
TRAIN = """
import os
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

KIND = os.environ.get("KIND", "")
private = torch.Generator()
private.seed()
torch.manual_seed(0)
x = torch.randn(48, 4)
train = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(1))
val = DataLoader(TensorDataset(x[:8], x[:8].sum(1, keepdim=True)), batch_size=4)
model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)


def evaluate(noise=0.0):
    model.eval()  # gradients stay on while the loader runs, as in the trainer of transformers
    total = 0.0
    for a, b in val:
        with torch.no_grad():
            total += (model(a + noise) - b).square().mean().item()
    model.train()
    return total


if os.environ.get("EVAL"):
    evaluate()
for epoch in range(2):
    for a, b in train:
        optimizer.zero_grad()
        (model(a) - b).square().mean().backward()
        optimizer.step()
    noise = torch.rand(4, generator=private) if KIND else 0.0
    score = evaluate(noise)
    if KIND == "schedule":
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + score)
    if KIND == "stop" and score > float(os.environ["BEST"]):
        break
    if KIND == "checkpoint":
        torch.save({"preview": noise}, "last.pt")
"""


def verdict_on(deployment, *runs: dict[str, str], options: tuple[str, ...] = ()) -> dict:
    (deployment.folder / "trains.py").write_text(TRAIN)
    for number, variables in enumerate(runs):
        deployment.environ.update({"EVAL": "", "KIND": "", **variables})
        ran = deployment.run("record", "-o", f"run{number}", "--", "python", "trains.py")
        assert ran.returncode == 0, ran.stderr
    compared = deployment.run("compare", "run0", "run1", "--json", *options)
    return json.loads(compared.stdout)


def test_an_evaluation_before_the_training_changes_no_name_in_it(deployment):
    found = verdict_on(deployment, {}, {"EVAL": "1"})
    assert found["outcome"] == "identical" and found["updates_equal"] == 12, found["summary"]
    assert {one["phase"] for one in found["benign"] if one["stage"] not in ("code", "files", "rng")} == {"eval"}
    text = deployment.run("compare", "run0", "run1").stdout
    assert "all 12 updates are bit-equal; only random states and evaluation differ" in text
    strict = deployment.run("compare", "run0", "run1", "--strict", "--json")
    assert strict.returncode == 1 and json.loads(strict.stdout)["strict"]


def test_random_rows_of_a_preview_are_benign(deployment):
    found = verdict_on(deployment, {"KIND": "preview"}, {"KIND": "preview"})
    assert found["outcome"] == "identical" and found["benign"][0]["phase"] == "eval", found["summary"]


@pytest.mark.parametrize("kind", ["schedule", "checkpoint"])
def test_an_evaluation_that_reaches_the_training_or_a_checkpoint_counts(deployment, kind):
    found = verdict_on(deployment, {"KIND": kind}, {"KIND": kind})
    assert found["outcome"] == "different", found["summary"]
    assert found["updates_equal"] == (12 if kind == "checkpoint" else None)


def test_a_training_that_an_evaluation_ends_early_is_different(deployment):
    """All updates that both runs made agree, but one run made fewer."""
    found = verdict_on(deployment, {"KIND": "stop", "BEST": "-1"}, {"KIND": "stop", "BEST": "1e9"})
    assert found["outcome"] == "different" and found["updates_equal"] is None, found["summary"]


GAN = """
import torch
from torch import nn

torch.manual_seed(0)
noise = torch.Generator()
noise.seed()
x = torch.randn(48, 4)
fakes, judge = nn.Linear(2, 4), nn.Linear(4, 1)
optimizers = [torch.optim.SGD(module.parameters(), lr=0.01) for module in (fakes, judge)]
for step in range(4):
    with torch.no_grad():  # the judge learns from fakes that were made as in an evaluation
        fake = fakes(torch.randn(8, 2, generator=noise))
    optimizers[1].zero_grad()
    (judge(x[:8]).mean() - judge(fake).mean()).backward()
    optimizers[1].step()
    optimizers[0].zero_grad()
    judge(fakes(x[:8, :2])).mean().backward()
    optimizers[0].step()
"""


def test_fakes_that_are_made_without_gradients_count(deployment):
    (deployment.folder / "gan.py").write_text(GAN)
    ran = deployment.run("audit", "--twins", "2", "--no-zoom", "--json", "--", "python", "gan.py")
    assert json.loads(ran.stdout)["outcome"] == "different", ran.stderr
