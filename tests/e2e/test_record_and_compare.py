"""No service at all: record twice, compare two folders; and twins of a command on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from house import RECIPES, House, wait_for

TRAIN = str(RECIPES / "mlp" / "train.py")


@pytest.fixture
def bare(tmp_path: Path) -> House:
    """Commands without any coordinator configured."""
    house = House(tmp_path)
    del house.environment["DETCTL_COORDINATOR"]
    return house


def test_record_twice_and_compare(bare: House, numbers: Path) -> None:
    command = ["--", sys.executable, TRAIN, "--data", str(numbers)]
    for name in ("check1", "check2"):
        done = bare.detctl("record", "-o", name, *command)
        assert done.returncode == 0, done.stderr
    same = bare.verdict("compare", "check1", "check2", exit_code=0)
    assert same["outcome"] == "identical"

    done = bare.detctl("record", "-o", "check3", *command, "--unseeded")
    assert done.returncode == 0, done.stderr
    different = bare.verdict("compare", "check1", "check3", exit_code=1)
    assert different["first_divergence"]["stage"] in {"init", "code", "order"}
    assert different["origin"] is None  # one run a side proves no origin

    refused = bare.detctl("record", "-o", "check1", *command)
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1

    segments = [path for path in (bare.folder / "check2" / "spool").rglob("*") if path.is_file()]
    with open(max(segments, key=lambda path: path.stat().st_size), "r+b") as file:
        file.seek(400)
        file.write(b"\xff\x00\xff\x00")
    damaged = bare.detctl("compare", "check1", "check2", "--json")
    assert damaged.returncode == 3, damaged.stdout + damaged.stderr


def test_twins_of_a_command(bare: House, numbers: Path) -> None:
    command = ["--", sys.executable, TRAIN, "--data", str(numbers)]
    done = bare.detctl("audit", "--twins", "2", "--json", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["outcome"] == "identical"
    assert (bare.folder / ".detctl").is_dir()
    done = bare.detctl("audit", "--twins", "2", "--json", *command, "--unseeded")
    verdict = json.loads(done.stdout)
    assert done.returncode == 1 and verdict["origin"] == "code"
    assert verdict["causes"][0]["cause"] == "unseeded-rng"


def test_interrupt_cleans_up(bare: House, numbers: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "detctl_cli.main", "audit", "--twins", "2", "--", sys.executable, TRAIN, "--data", str(numbers),
         "--steps", "10000", "--pause", "0.05"],
        env=bare.environment, cwd=bare.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip

    ours = str(bare.folder).encode()  # other tests train beside this one

    def is_ours(process: Path) -> bool:
        variables = (process / "environ").read_bytes()
        return (
            b"DETCTL_RUN_ID=" in variables and ours in variables and b"train.py" in (process / "cmdline").read_bytes()
        )

    def training() -> bool:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and is_ours(entry):
                    return True
        return False

    wait_for("a training runs", training)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    wait_for("no child is left", lambda: not training())
