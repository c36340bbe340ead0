"""`detctl zoom DIR DIR`: two recordings are replayed where they diverge, from the start or from the last identical checkpoint."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import argparse, os, torch
parser = argparse.ArgumentParser()
parser.add_argument("--fault-at", type=int, default=-1)
parser.add_argument("--out")
parser.add_argument("--resume")
options = parser.parse_args()
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
start = 0
if options.resume:
    held = torch.load(options.resume)
    model.load_state_dict(held["model"])
    start = held["step"]
data = torch.utils.data.TensorDataset(torch.arange(48.0).view(12, 4) / 48)
for step, (x,) in enumerate(torch.utils.data.DataLoader(data, batch_size=2)):
    if step < start:
        continue
    if options.out:
        torch.save({"model": model.state_dict(), "step": step}, os.path.join(options.out, "%d.pt" % step))
    y = model(x)
    if step == options.fault_at:
        y = y * 1.0001
    optimizer.zero_grad()
    y.square().mean().backward()
    optimizer.step()
"""


def test_the_operation_is_named_from_the_start_and_from_a_checkpoint(deployment):
    (deployment.folder / "train.py").write_text(SCRIPT)
    for name, more in (("a", ()), ("b", ("--fault-at", "3"))):
        saved = deployment.folder.parent / f"saved-{name}"
        saved.mkdir()
        command = ("python", "train.py", *more, "--out", str(saved))
        assert deployment.run("record", "-o", f"run-{name}", "--", *command).returncode == 0

    plain = deployment.run("zoom", "run-a", "run-b", "--json")
    assert plain.returncode == 1, plain.stderr
    zoom = json.loads(plain.stdout)["zoom"]
    assert (zoom["step"], zoom["op"], zoom["stage"]) == (3, "aten.mul.Tensor", "loss")
    assert zoom["at"][0].startswith("{cwd}/train.py:") and "only the second run" in zoom["words"]
    assert "diverge at step 3" in plain.stderr

    parent = deployment.folder.parent
    (parent / "saved-a" / "5.pt").write_bytes(b"")  # the newest of both folders, as a killed training leaves it
    resumed = deployment.run(
        "zoom", "run-a", "run-b", "--from", str(parent / "saved-a"), "--from", str(parent / "saved-b"), "--steps", "2",
        "-o", "again", "--", "--resume", "{from}",
    )  # fmt: skip
    assert resumed.returncode == 1, resumed.stderr
    assert "saved-a/5.pt: an empty file" in resumed.stderr
    assert "saved-a/3.pt at level op" in resumed.stderr, "the weights are identical up to the divergent step"
    assert "operation" in resumed.stdout and "aten.mul.Tensor" in resumed.stdout
    assert (deployment.folder / "again" / "a" / "run.json").exists()


def test_bad_input_is_one_line(deployment):
    assert deployment.run("record", "-o", "a", "--", "python", "train.py", "--seed").returncode == 0
    (deployment.folder / "train.py").rename(deployment.folder / "moved.py")
    for arguments, expected in (
        (("zoom", "a", "nowhere"), "nowhere: there is no such folder"),
        (("zoom", "a", "a"), "train.py is not in this folder"),
        (("zoom", "a", "a", "--", "--resume", "x"), "go with --from CKPT"),
        (("zoom", "a", "a", "--from", "x.pt"), "not how the script resumes"),
    ):
        done = deployment.run(*arguments)
        assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1, done.stderr
