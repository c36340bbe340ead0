"""What is no training, or breaks: exit 3 or 2, one clear line, nothing left running."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from deployment import Deployment, catalog


def one_clear_line(text: str) -> None:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    assert lines and "Traceback" not in text, text


def broken(command: str, folder: Path, timeout_s: int = 60) -> str:
    return f"""
[recipes.broken]
command = {command}
folder = "{folder}"
timeout_s = {timeout_s}
[environments.default]
python = "{sys.executable}"
variables = {{ OMP_NUM_THREADS = "1" }}
"""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ('["python", "-c", "print(1)"]', ""),
        ('["python", "-I", "-c", "import torch; torch.ones(1)"]', ""),
        ('["no-such-program-here"]', "no-such-program-here"),
    ],
)
def test_no_probe_or_no_training_is_unverified(deployment: Deployment, tmp_path: Path, command: str, says: str) -> None:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "x.py").write_text("")
    deployment.agent("gpu1", broken(command, folder))
    verdict = deployment.verdict("audit", "broken", "--machines", "gpu1", "--twins", "2", exit_code=3)
    assert verdict["outcome"] == "unverified" and verdict["unverified_because"]
    assert any(says in line for line in verdict["unverified_because"])


def test_crashed_alike_is_unverified(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand --crash-at 3"))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=3)
    assert verdict["outcome"] == "unverified"
    assert any("exit" in line for line in verdict["unverified_because"])


def test_timeout(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand --pause 100", timeout_s=8))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=3)
    assert any("time" in line for line in verdict["unverified_because"])


def test_unknown_names(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers))
    for arguments, named in [
        (("audit", "mpl", "--machines", "gpu1"), "mlp"),
        (("audit", "mlp", "--machines", "gpu7"), "gpu1"),
        (("audit", "mlp", "--machines", "gpu1", "--environments", "cuda99"), "default"),
        (("audit", "mlp", "--machines", "gpu1", "--set", "wrokers=1"), "workers"),
        (("audit", "mlp", "--machines", "gpu1", "--set", "env:LD_PRELOAD=/x"), "LD_PRELOAD"),
        (("audit", "mlp", "--machines", "gpu1", "--set", "workers=$(id)"), "workers"),
    ]:
        done = deployment.detctl(*arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        one_clear_line(done.stderr)
        assert named in done.stderr and not done.stdout
    shared = deployment.detctl("compare", "--machines", "gpu1,gpu2")
    assert shared.returncode in (2, 3)
    one_clear_line(shared.stderr)


def test_no_coordinator(deployment: Deployment) -> None:
    done = deployment.detctl("machines", "--coordinator", "unix:/nowhere/c.sock")
    assert done.returncode == 2
    one_clear_line(done.stderr)
    assert "/nowhere/c.sock" in done.stderr
