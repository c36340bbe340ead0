"""The real command with its real children: no service is configured, everything happens in a folder of the test."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = os.pathsep.join(str(ROOT / name) for name in ("proto", "agent", "coordinator", "cli"))

TRAIN = """
import os, sys
import torch
if "--seed" in sys.argv:
    torch.manual_seed(0)
if "--fifo" in sys.argv:  # whoever reads it sees our start, and our end as its end
    fifo = os.open(sys.argv[sys.argv.index("--fifo") + 1], os.O_WRONLY)
model = torch.nn.Linear(4, 2)
loader = torch.utils.data.DataLoader(torch.ones(18, 4), batch_size=3)
step = 0
while step < 6 or "--endless" in sys.argv:
    for batch in loader:
        loss = model(batch).square().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():  # torch.optim would import torch's compiler, half of the start
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        step += 1
        if "--fifo" in sys.argv and step == 2:
            os.write(fifo, b"up\\n")
        if "--crash" in sys.argv and step == 3:
            raise RuntimeError("as asked")
"""


@dataclass(frozen=True)
class Deployment:
    """A folder with a training, and the variables of a user who has configured nothing."""

    folder: Path
    environ: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "detctl_cli", *arguments],
            cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def wait_until_nobody_is_left(self) -> None:
        """Coordinator and agent hold the folder's lock as long as they live."""
        with open(self.folder / ".detctl" / "lock") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    home = tmp_path / "home"
    home.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "/usr/bin:/bin")])
    variables = {"PATH": path, "HOME": str(home), "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    variables["DETCTL_KNOWN_ANSWERS"] = "0"  # five seconds an audit; test_known_answers.py asks
    return Deployment(folder, variables)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A fifo and its reading end."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)
