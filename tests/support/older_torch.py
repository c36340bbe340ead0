"""A second torch for tests, in an environment of its own: 2.13, or one from before torch.load was safe."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"


def older_torch(version: str = "2.13.0") -> str:
    """Its interpreter; made once in .cache, whichever of several test processes comes first."""
    name = "torch" + "".join(version.split(".")[:2])
    python = CACHE / name / "bin" / "python"
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        works = [str(python), "-c", "import torch, numpy"]
        if not python.exists() or subprocess.run(works, capture_output=True).returncode:
            subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
            # What is used is compiled by whoever uses it first: a third of what pip would compile.
            subprocess.run(
                [str(python), "-m", "pip", "install", "-q", "--no-compile", f"torch=={version}", "numpy"], check=True
            )
    return str(python)
