"""User-launched runs: `detctl audit --join-only` waits, `detctl record --join` trains and sends; no agent, no catalog."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment, wait_for

pytestmark = pytest.mark.slow

DETCTL = [sys.executable, "-m", "detctl_cli.main"]
TRAIN = """
import os, sys, torch
torch.manual_seed(int(sys.argv[1]))
model = torch.nn.Linear(4, 2)
step = 0
while step < 4 or "--endless" in sys.argv:
    model.zero_grad()
    model(torch.ones(3, 4)).square().mean().backward()
    with torch.no_grad():  # torch.optim would import torch's compiler, half of the start
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    step += 1
    if "--crash" in sys.argv and step == 2:
        raise RuntimeError("as asked")
    if "--endless" in sys.argv and step == 2:
        open("up", "w").close()
        import time
        time.sleep(600)
"""


@pytest.fixture
def project(deployment: Deployment, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def start(deployment: Deployment, *words: str) -> str:
    done = deployment.detctl("audit", "toy", "--join-only", "--machines", "gpu1,gpu2", *words, "--detach", "--json")
    assert done.returncode == 0, done.stderr
    audit_id: str = json.loads(done.stdout)["audit"]
    assert f"on gpu1, once: detctl record --join {audit_id} --machine gpu1 -- COMMAND" in done.stderr
    return audit_id


def join(deployment: Deployment, audit_id: str, machine: str, *words: str, cwd: Path, **options: Any) -> Any:
    command = ("record", "--join", audit_id, "--machine", machine, *options.pop("flags", ()))
    return deployment.detctl(*command, "--", "python", "train.py", *words, cwd=cwd, **options)


def states(deployment: Deployment, audit_id: str) -> dict[str, str]:
    runs = json.loads(deployment.detctl("runs", "--audit", audit_id, "--json").stdout)["runs"]
    return {run["machine"]: run["state"] for run in runs}


def test_runs_are_joined_sent_and_compared_as_the_audit_says(deployment: Deployment, project: Path) -> None:
    audit_id = start(deployment, "--twins", "1", "--steps", "0:3", "--set", "env:OMP_NUM_THREADS=1")
    first = join(deployment, audit_id, "gpu1", "0", cwd=project)
    assert first.returncode == 0 and "gpu1/default/base/twin-0" in first.stderr, first.stderr
    taken = join(deployment, audit_id, "gpu1", "0", cwd=project)
    assert taken.returncode == 2 and "every run of gpu1" in taken.stderr and taken.stderr.count("\n") == 1
    shown = json.loads(
        deployment.detctl(
            "show", json.loads(deployment.detctl("runs", "--json").stdout)["runs"][-1]["id"], "--json"
        ).stdout
    )
    assert "OMP_NUM_THREADS" in json.dumps(shown)
    assert join(deployment, audit_id, "gpu2", "0", cwd=project).returncode == 0
    same = deployment.verdict("audit", "--attach", audit_id, exit_code=0)
    assert same["outcome"] == "identical" and same["first_divergence"] is None

    other = start(deployment, "--twins", "1")
    for machine, seed in (("gpu1", "0"), ("gpu2", "1")):
        assert join(deployment, other, machine, seed, cwd=project).returncode == 0
    verdict = deployment.verdict("audit", "--attach", other, exit_code=1)
    assert verdict["origin"] is None, "one run a machine proves no origin"
    refused = deployment.detctl("explain", other)
    assert refused.returncode == 2 and "has no agents" in refused.stderr


def test_what_is_interrupted_is_given_back_and_what_is_killed_is_taken_over(
    deployment: Deployment, project: Path
) -> None:
    audit_id = start(deployment, "--twins", "1")
    for number, flags in ((signal.SIGTERM, ()), (signal.SIGKILL, ()), (None, ("--again",))):
        if number is None:
            assert states(deployment, audit_id) == {"gpu1": "running", "gpu2": "waiting"}
            done = join(deployment, audit_id, "gpu1", "0", cwd=project, flags=flags)
            assert done.returncode == 0, done.stderr
            break
        (project / "up").unlink(missing_ok=True)
        process = subprocess.Popen(
            [*DETCTL, "record", "--join", audit_id, "--machine", "gpu1", "--", "python", "train.py", "0", "--endless"],
            cwd=project, env=deployment.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for("the training is up", lambda: (project / "up").exists())
        # What is recorded is sent while it trains: a host that dies takes none of it along.
        wait_for("the coordinator has a part of it", lambda: deployment.segments() > 0)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if number is signal.SIGTERM:
            assert process.returncode == 143 and "was released" in said, said
            assert states(deployment, audit_id) == {"gpu1": "waiting", "gpu2": "waiting"}
    assert join(deployment, audit_id, "gpu2", "0", cwd=project).returncode == 0
    assert deployment.verdict("audit", "--attach", audit_id, exit_code=0)["outcome"] == "identical"


def test_a_crash_is_sent_and_leads_to_unverified_and_a_late_coordinator_is_waited_for(
    deployment: Deployment, project: Path
) -> None:
    audit_id = start(deployment, "--twins", "1")
    crashed = join(deployment, audit_id, "gpu1", "0", "--crash", cwd=project)
    assert crashed.returncode == 3 and "RuntimeError: as asked" in crashed.stderr
    process = subprocess.Popen(
        [*DETCTL, "record", "--join", audit_id, "--machine", "gpu2", "--", "python", "train.py", "0"],
        cwd=project, env=deployment.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for("it has its run", lambda: states(deployment, audit_id)["gpu2"] == "running")
    deployment.kill("coordinator")
    wait_for("it is waited for", lambda: "trying again" in (process.stderr.readline() if process.stderr else ""))
    deployment.coordinator()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0 and "sent:" in said, said
    verdict = deployment.verdict("audit", "--attach", audit_id, exit_code=3)
    assert verdict["outcome"] == "unverified" and any("gpu1" in why for why in verdict["unverified_because"])


def test_a_training_on_several_nodes_is_no_run_of_one(deployment: Deployment, project: Path) -> None:
    audit_id = start(deployment, "--twins", "1")
    nodes = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "1", "RANK": "2"}  # as torchrun sets them
    done = join(deployment, audit_id, "gpu1", "0", cwd=project, env=nodes)
    assert done.returncode == 3 and "3 ranks of this training are on other nodes" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert states(deployment, audit_id) == {"gpu1": "waiting", "gpu2": "waiting"}


def test_wrong_names_are_one_line(deployment: Deployment, project: Path) -> None:
    audit_id = start(deployment, "--twins", "1")
    for command, says in (
        (
            ("record", "--join", audit_id, "--machine", "gpu9", "--", "python", "train.py", "0"),
            "no machine 'gpu9'; did you mean",
        ),
        (
            ("record", "--join", "nothing", "--machine", "gpu1", "--", "python", "train.py", "0"),
            "no audit has the id 'nothing'",
        ),
        (("record", "--join", audit_id, "--steps", "0:3", "--", "python", "train.py"), "the audit determines them"),
        (("record", "--", "python", "train.py"), "neither -o DIR nor --join AUDIT is given"),
        (("record", "-o", "x", "--again", "--", "python", "train.py"), "go with --join"),
        (("audit", "--join-only", "--machines", "gpu1", "--explain"), "cannot be combined with --join-only"),
        (("audit", "--join-only", "--machines", "GPU 1"), "machine 'GPU 1'"),
        (("audit", "--join-only", "--", "python", "train.py"), "give the command to detctl record --join"),
        (("audit", "--join-only", "--machines", "gpu1", "--set", "lr=1"), "lr"),
    ):
        done = deployment.detctl(*command, cwd=project)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1, (command, done.stderr)
    assert states(deployment, audit_id) == {"gpu1": "waiting", "gpu2": "waiting"}
