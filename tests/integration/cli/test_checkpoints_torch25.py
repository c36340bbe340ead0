"""Checkpoints under torch 2.5.1, whose torch.load runs code under weights_only: what would have run it is refused before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.older_torch import older_torch
from tests.support.torch_archives import archive, legacy_tar, old_tar, tensor

ROOT = Path(__file__).parents[3]
MAKE = """
import torch
class Script(torch.nn.Module):
    def forward(self, x):
        return x + 1
torch.jit.save(torch.jit.script(Script()), "script.pt")
held = {"w": torch.arange(12.).reshape(3, 4), "step": 3}
torch.save(held, "a.pt"); torch.save(held, "b.pt"); torch.save({**held, "w": held["w"] + 1}, "c.pt")
torch.save(held, "old.pt", _use_new_zipfile_serialization=False)
print(type(torch.load("script.pt", weights_only=True)).__name__)
"""

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def python() -> str:
    return older_torch("2.5.1")


@pytest.fixture(scope="module")
def saved(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch25")
    (folder / "make.py").write_text(MAKE)  # TorchScript wants to read its source
    done = subprocess.run([python, "make.py"], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    # This torch itself hands the file to torch.jit.load, whatever weights_only is: the danger is real here.
    assert done.stdout.strip() == "RecursiveScriptModule"
    for name, content in {
        "tar.pt": legacy_tar(), "old_tar.pt": old_tar(), "claims.pt": archive(tensor(4_000_000) + b"."),
        "writes.pt": archive(tensor() + b"K\x00K\x01s."), "renamed.pt": archive(more=[("CONSTANTS.PKL", b"")]),
    }.items():  # fmt: skip
        (folder / name).write_bytes(content)
    return folder


def compare(python: str, saved: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    sources = os.pathsep.join(str(ROOT / name) for name in ("proto", "agent", "coordinator", "cli"))
    environment = {**os.environ, "PYTHONPATH": sources, "DETCTL_COORDINATOR": ""}
    command = [sys.executable, "-m", "detctl_cli.main", "compare", "--python", python, *arguments]
    return subprocess.run(command, cwd=saved, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("script.pt", "a TorchScript archive: it holds code"),
        ("renamed.pt", "a TorchScript archive: it holds code"),
        ("tar.pt", "a tar file"),
        ("old_tar.pt", "a tar file"),
        ("old.pt", "does not read safely: name a newer torch"),
        ("claims.pt", "claims 16000000 bytes of data/0"),
        ("writes.pt", "sets items of what is not a dict"),
    ],
)
def test_what_this_torch_would_run_or_trust_is_refused(python: str, saved: Path, name: str, expected: str) -> None:
    done = compare(python, saved, name, "a.pt")
    assert done.returncode == 2 and done.stdout == "" and expected in done.stderr and done.stderr.count("\n") == 1, (
        done.stderr
    )


def test_what_is_harmless_is_compared(python: str, saved: Path) -> None:
    assert compare(python, saved, "a.pt", "b.pt").returncode == 0
    different = compare(python, saved, "a.pt", "c.pt")
    assert different.returncode == 1 and "w" in different.stdout
