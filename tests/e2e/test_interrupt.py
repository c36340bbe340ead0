"""Ctrl-C on an audit of a command, with no service at all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import RECIPES, Deployment, wait_for

TRAIN = str(RECIPES / "mlp" / "train.py")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Deployment]:
    """Commands without any coordinator configured."""
    deployment = Deployment(tmp_path)
    del deployment.environment["DETCTL_COORDINATOR"]
    yield deployment
    deployment.close()


def test_interrupt_cleans_up(bare: Deployment, numbers: Path) -> None:
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
