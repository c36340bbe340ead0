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


def test_unseeded_twins_are_different_by_code_and_the_data_stay(house):
    ran = house.run("audit", "--twins", "2", "--steps", "0:4", "--json", "--", "python", "train.py")
    assert ran.returncode == 1, ran.stderr
    verdict = json.loads(ran.stdout)
    assert (verdict["schema"], verdict["outcome"], verdict["origin"]) == ("detctl.verdict/v1", "different", "code")
    assert verdict["causes"][0]["cause"] == "unseeded-rng"
    house.wait_until_nobody_is_left()
    assert {path.name for path in (house.folder / ".detctl/logs").iterdir()} == {"agent.log", "coordinator.log"}
    listed = json.loads(house.run("audits", "--json").stdout)["audits"]
    assert [(audit["id"], audit["outcome"]) for audit in listed] == [(verdict["audit"], "different")]
    shown = house.run("compare", "--audit", verdict["audit"])
    assert shown.returncode == 1
    assert shown.stdout.startswith("DIFFERENT   origin: code   cause: unseeded-rng")


def test_seeded_twins_are_identical_though_progress_goes_to_a_file_of_their_folder(house):
    with open(house.folder / "log.txt", "w") as log:
        done = subprocess.run(
            [sys.executable, "-m", "detctl_cli", "audit", "--twins", "2", "--steps", "0:4", "--", "python", "train.py", "--seed"],
            cwd=house.folder, env=house.environ, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert done.returncode == 0, (house.folder / "log.txt").read_text()
    assert done.stdout.startswith("IDENTICAL")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_nothing_is_left_running(house, fifo, number, code):
    path, reader = fifo
    command = ("python", "train.py", "--endless", "--fifo", str(path))
    process = house.start("audit", "--twins", "1", "--to-end", "--", *command)
    assert select.select([reader], [], [], 120)[0]
    assert os.read(reader, 3) == b"up\n"
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == code
    assert select.select([reader], [], [], 120)[0]
    assert os.read(reader, 1) == b""  # the training is gone
    house.wait_until_nobody_is_left()


@pytest.mark.parametrize(
    ("command", "says"),
    [(("python", "plain.py"), "no torch"), (("python", "train.py", "--seed", "--crash"), "exit code 1")],
)
def test_what_is_no_whole_training_is_unverified(house, command, says):
    (house.folder / "plain.py").write_text("print('no torch here')\n")
    ran = house.run("audit", "--twins", "2", "--", *command)
    assert ran.returncode == 3, ran.stderr
    assert ran.stdout.startswith("UNVERIFIED")
    assert says in ran.stdout


def test_a_wrong_name_is_the_coordinators_one_line(house):
    ran = house.run("audit", "--set", "nope=3", "--", "python", "train.py")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "nope" in ran.stderr and "valid:" in ran.stderr
    house.wait_until_nobody_is_left()
