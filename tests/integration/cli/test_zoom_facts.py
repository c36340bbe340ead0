"""`detctl zoom` repeats recordings with their own facts, and says so if the difference does not come back."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.slow

# A sum over 100003 values depends on the number of threads, one over 1000 on the instruction set alone.
TRAIN = """
import os, torch
torch.manual_seed(int(os.environ.get("RUN_SEED", "0")) + int(os.environ.get("RUN_COOKIE", "0")))
data = torch.randn(3, int(os.environ.get("RUN_SIZE", "1000")))
model = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([model], lr=0.1)
for (x,) in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data)):
    loss = (x * model).sum() * 1e-4
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def recorded(deployment, name, *options, **variables):
    deployment.environ.update(variables)
    done = deployment.run("record", "-o", name, "--to-end", *options, "--", "python", "train.py")
    for variable in variables:
        deployment.environ.pop(variable)
    deployment.environ["OMP_NUM_THREADS"] = "1"
    assert done.returncode == 0, done.stderr


def zoomed(deployment, *options):
    done = deployment.run("zoom", "a", "b", "--json", *options)
    return done, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"RUN_SIZE": "100003", "OMP_NUM_THREADS": "1"}, {"RUN_SIZE": "100003", "OMP_NUM_THREADS": "2"}),
        ({"RUN_SEED": "1"}, {"RUN_SEED": "2"}),
        ({"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"}),
    ],
    ids=["threads", "seed", "cpu-capability"],
)
def test_recorded_variables_are_set_again(deployment, ours, theirs):
    (deployment.folder / "train.py").write_text(TRAIN)
    recorded(deployment, "a", **ours)
    recorded(deployment, "b", **theirs)
    done, verdict = zoomed(deployment)
    assert done.returncode == 1, done.stderr
    assert verdict["outcome"] == "different" and verdict["replayed"] is True
    assert verdict["not_reproduced"] is False and verdict["could_not_set"] == []


def test_recorded_interventions_are_set_again_and_the_recorded_folder_is_used(deployment):
    text = "".join(line for line in TRAIN.splitlines(keepends=True) if "manual_seed" not in line)
    (deployment.folder / "train.py").write_text(text)
    recorded(deployment, "a", "--set", "seed=1")
    recorded(deployment, "b", "--set", "probe:seed=2", "--set", "env:RUN_SIZE=1000")
    elsewhere = deployment.folder.parent / "elsewhere"
    elsewhere.mkdir()
    for name in "ab":
        shutil.move(deployment.folder / name, elsewhere / name)
    done, verdict = zoomed(type(deployment)(elsewhere, deployment.environ))
    assert done.returncode == 1, done.stderr
    assert verdict["outcome"] == "different" and verdict["not_reproduced"] is False


def test_a_value_that_is_not_recorded_cannot_be_set(deployment):
    (deployment.folder / "train.py").write_text(TRAIN)
    recorded(deployment, "a", RUN_COOKIE="1")
    recorded(deployment, "b", RUN_COOKIE="2")
    done, verdict = zoomed(deployment)
    assert done.returncode == 3, done.stderr
    assert verdict["outcome"] == "unverified" and verdict["not_reproduced"] is True
    facts = {row["fact"] for row in verdict["could_not_set"]}
    assert facts == {"variables.RUN_COOKIE"}, verdict["could_not_set"]
    assert {row["recording"] for row in verdict["could_not_set"]} == {"a", "b"}
    assert verdict["recorded_divergence"]["step"] == 0
    shown = deployment.run("zoom", "a", "b")
    assert shown.returncode == 3
    assert "The difference did not reproduce here. These facts of the recordings could not be set: RUN_COOKIE" in (
        shown.stdout
    )


def test_equal_recordings_are_not_replayed(deployment):
    (deployment.folder / "train.py").write_text(TRAIN)
    recorded(deployment, "a")
    recorded(deployment, "b")
    done, verdict = zoomed(deployment)
    assert done.returncode == 0, done.stderr
    assert verdict["outcome"] == "identical" and verdict["replayed"] is False
    assert done.stderr.endswith("detctl: the two recordings are identical; nothing is replayed\n")
    assert "replaying" not in done.stderr


def test_a_replay_sees_large_ignored_data_and_leaves_nothing_behind(deployment):
    """The folder is too large to be copied, and the second replay must not find what the first one wrote."""
    folder = deployment.folder
    (folder / "data").mkdir()
    with open(folder / "data" / "large.bin", "wb") as stream:
        stream.write(b"\x07" * 64)
        stream.truncate(700 * 1024**2)
    (folder / ".gitignore").write_text("data/\n")
    text = TRAIN.replace(
        "import os, torch", "import os, torch\nassert not os.path.exists('done'); open('done', 'w').close()"
    )
    size = "open('data/large.bin', 'rb').read(64)[0]"
    (folder / "train.py").write_text(text.replace("data = torch.randn(3,", f"data = {size} * torch.randn(3,"))
    for name, seed in (("a", "1"), ("b", "2")):
        recorded(deployment, name, RUN_SEED=seed)
        (folder / "done").unlink()
    done, verdict = zoomed(deployment)
    assert done.returncode == 1, done.stderr
    assert verdict["outcome"] == "different" and verdict["not_reproduced"] is False
    assert not (folder / "done").exists()
