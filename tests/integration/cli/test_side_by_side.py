"""Twins of a command that train at the same time, with real processes."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TRAIN = """
import sys, time
import torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
for step in range(6):
    if step == 1:
        print("from", time.monotonic(), torch.get_num_threads(), flush=True)
    if step == 3 and "--wait" in sys.argv:
        time.sleep(600)
    if step == 3 and "--crash" in sys.argv:
        raise RuntimeError("as asked")
    time.sleep(0.6)
    loss = model(torch.ones(3, 4)).square().mean()
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
print("to", time.monotonic(), flush=True)
time.sleep(0.5)
"""


@pytest.fixture
def folder(deployment) -> Path:
    (deployment.folder / "twin.py").write_text(TRAIN)
    deployment.environ["OMP_NUM_THREADS"] = "1"
    return deployment.folder


def spans(folder: Path) -> list[tuple[float, float, int]]:
    """Returns (from, to, threads) of each run, by its monotonic clock, in order of time."""
    found = []
    for output in (folder / ".detctl/agent/runs").glob("*/stdout"):
        text = output.read_text()
        begun, ended = re.search(r"from (\S+) (\d+)", text), re.search(r"to (\S+)", text)
        assert begun and ended, text
        found.append((float(begun[1]), float(ended[1]), int(begun[2])))
    return sorted(found)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor holds one run")
def test_twins_that_fit_train_side_by_side_after_the_first_was_measured(deployment, folder):
    done = deployment.run("audit", "--twins", "3", "--timings", "--json", "--", "python", "twin.py")
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    times = verdict["timings"]
    assert times["side_by_side"]["runs"] >= 2 and times["side_by_side"]["reason"] == "fits"
    assert max(run["beside"] for run in verdict["runs"]) >= 1
    assert "runs train side by side" in done.stderr
    assert {threads for _, _, threads in spans(folder)} == {1}
    assert len(times["runs"]) == 3 and {"detctl", "services", "planning", "runs"} <= set(times["parts"])
    for run in times["runs"]:
        assert run["importing_s"] > 0 and run["training_s"] > 2.0 and run["total_s"] < times["total_s"]


def test_parallel_1_trains_one_after_another(deployment, folder):
    done = deployment.run("audit", "--twins", "2", "--parallel", "1", "--timings", "--", "python", "twin.py")
    assert done.returncode == 0, done.stderr
    first, second = spans(folder)
    assert first[1] < second[0]
    assert "import torch" in done.stdout and "beside" not in done.stdout and "side by side" not in done.stderr


def test_a_failure_stops_the_runs_beside_it(deployment, folder):
    done = deployment.run("audit", "--twins", "2", "--parallel", "2", "--json", "--", "python", "twin.py", "--crash")
    verdict = json.loads(done.stdout)
    assert done.returncode == 3 and verdict["outcome"] == "unverified" and verdict["stopped_by"]


def test_ctrl_c_ends_all_runs_that_train_side_by_side(deployment, folder):
    process = deployment.start("audit", "--twins", "2", "--parallel", "2", "--", "python", "twin.py", "--wait")
    shown = ""
    assert process.stderr is not None
    while len(set(re.findall(r"twin-(\d) is training", shown))) < 2:
        line = process.stderr.readline()
        assert line, shown
        shown += line
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, shown + rest
    deployment.wait_until_nobody_is_left()


def test_in_place_excludes_parallel(deployment, folder):
    done = deployment.run("audit", "--in-place", "--parallel", "2", "--", "python", "twin.py")
    assert done.returncode == 2 and "--parallel does not go with --in-place" in done.stderr
