"""`detctl audit -- COMMAND` with an embedded coordinator and a local agent."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_unseeded_twins_are_different_by_code_and_the_data_stay(deployment):
    ran = deployment.run("audit", "--twins", "2", "--steps", "0:4", "--json", "--", "python", "train.py")
    assert ran.returncode == 1, ran.stderr
    verdict = json.loads(ran.stdout)
    assert (verdict["schema"], verdict["outcome"], verdict["origin"]) == ("detctl.verdict/v1", "different", "code")
    assert verdict["causes"][0]["cause"] == "unseeded-rng"
    deployment.wait_until_nobody_is_left()
    assert {path.name for path in (deployment.folder / ".detctl/logs").iterdir()} == {"agent.log", "coordinator.log"}
    listed = json.loads(deployment.run("audits", "--json").stdout)["audits"]
    assert [(audit["id"], audit["outcome"]) for audit in listed] == [(verdict["audit"], "different")]
    shown = deployment.run("compare", "--audit", verdict["audit"])
    assert shown.returncode == 1
    assert shown.stdout.startswith("DIFFERENT   origin: code   cause: unseeded-rng")


def test_seeded_twins_are_identical_though_progress_goes_to_a_file_of_their_folder(deployment):
    with open(deployment.folder / "log.txt", "w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "detctl_cli", "audit", "--twins", "2", "--steps", "0:4", "--", "python", "train.py", "--seed"],
            cwd=deployment.folder, env=deployment.environ, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert done.returncode == 0, (deployment.folder / "log.txt").read_text()
    assert done.stdout.startswith("IDENTICAL")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_nothing_is_left_running(deployment, fifo, number, code):
    path, reader = fifo
    command = ("python", "train.py", "--endless", "--fifo", str(path))
    process = deployment.start("audit", "--twins", "1", "--to-end", "--", *command)
    assert select.select([reader], [], [], 120)[0]
    assert os.read(reader, 3) == b"up\n"
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == code
    assert select.select([reader], [], [], 120)[0]
    assert os.read(reader, 1) == b""  # the training is gone
    deployment.wait_until_nobody_is_left()


@pytest.mark.parametrize(
    ("command", "expected"),
    [(("python", "plain.py"), "no torch"), (("python", "train.py", "--seed", "--crash"), "exit code 1")],
)
def test_what_is_no_whole_training_is_unverified(deployment, command, expected):
    (deployment.folder / "plain.py").write_text("print('no torch here')\n")
    ran = deployment.run("audit", "--twins", "2", "--", *command)
    assert ran.returncode == 3, ran.stderr
    assert ran.stdout.startswith("UNVERIFIED")
    assert expected in ran.stdout


def test_a_wrong_name_is_the_coordinators_one_line(deployment):
    ran = deployment.run("audit", "--set", "nope=3", "--", "python", "train.py")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "nope" in ran.stderr and "valid:" in ran.stderr
    deployment.wait_until_nobody_is_left()
