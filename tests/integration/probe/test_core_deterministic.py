"""set_deterministic in real processes, and a package that imports next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.older_torch import older_torch

AGENT = Path(__file__).parents[3] / "agent"


def run(python: str, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    if not os.access(python, os.X_OK):
        pytest.skip(f"no {python} here")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(AGENT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run([python, "-c", text], env=env, capture_output=True, text=True, timeout=120, check=False)


def test_importing_the_package_imports_nothing_else() -> None:
    text = "import __future__, sys, typing; before = set(sys.modules)\nimport detctl_probe\nprint(sorted(set(sys.modules) - before))"
    assert run(sys.executable, text).stdout == "['detctl_probe']\n"


@pytest.mark.parametrize(
    "interpreter", [lambda: sys.executable, pytest.param(older_torch, marks=pytest.mark.soak)], ids=["newest", "2.13"]
)
def test_twins_are_equal_and_the_switches_are_set(interpreter: Callable[[], str]) -> None:
    python = interpreter()
    text = """
from detctl_probe import set_deterministic
fixed = set_deterministic(7)
import os, random, numpy, torch
from torch.utils.data import DataLoader, TensorDataset
class Noisy(TensorDataset):
    def __getitem__(self, at):
        return torch.rand(1).item() + random.random() + numpy.random.rand()
loader = DataLoader(Noisy(torch.arange(8)), batch_size=4, shuffle=True, num_workers=2,
                    worker_init_fn=fixed.worker_init_fn, generator=fixed.generator)
print([batch.tolist() for batch in loader], random.random(), numpy.random.rand(), torch.rand(2))
assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
assert torch.backends.cudnn.deterministic and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
assert all("PYTHONHASHSEED" in line for line in fixed.not_set), fixed.not_set
print(len(fixed.not_set))
"""
    first, second = run(python, text), run(python, text)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stdout.endswith("1\n")
    assert "PYTHONHASHSEED=7" in first.stderr
    fixed = run(python, text, PYTHONHASHSEED="7", CUBLAS_WORKSPACE_CONFIG=":4096:8")
    assert fixed.stdout.endswith("0\n"), fixed.stderr
    assert fixed.stderr == ""


def test_without_torch_it_seeds_what_there_is() -> None:
    python = "/root/.pyenv/versions/3.9.18/bin/python"
    text = "import detctl_probe as d, random\nf = d.set_deterministic(3)\nprint(random.random(), f.generator)"
    expected = run(python, "import random; random.seed(3); print(random.random(), None)").stdout
    assert run(python, text).stdout == expected


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    result = run(sys.executable, f"from detctl_probe import set_deterministic as s\ns({seed})")
    assert result.returncode == 1
    assert "it must be at least 0 and below 2**32" in result.stderr
