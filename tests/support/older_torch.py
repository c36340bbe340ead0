"""A second torch for tests: 2.13 as a CPU wheel, in an environment of its own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

VENV = Path(__file__).parents[2] / ".cache" / "torch213"


def older_torch() -> str:
    """Its interpreter; made once in .cache, whichever of several test processes comes first."""
    python = VENV / "bin" / "python"
    VENV.parent.mkdir(exist_ok=True)
    with open(VENV.parent / "torch213.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        works = [str(python), "-c", "import torch, numpy"]
        if not python.exists() or subprocess.run(works, capture_output=True).returncode:
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
            # What is used is compiled by whoever uses it first: a third of what pip would compile.
            subprocess.run(
                [str(python), "-m", "pip", "install", "-q", "--no-compile", "torch==2.13.0", "numpy"], check=True
            )
    return str(python)
