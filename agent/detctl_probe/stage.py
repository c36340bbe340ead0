"""Puts the probe, alone, into a private folder that then stands first on a training's PYTHONPATH."""

from __future__ import annotations

import os
import shutil

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "inject", "*.c", "*.h", "build")


def stage(folder: str) -> str:
    """Makes `folder` (which must not hold anything yet) hold sitecustomize.py and detctl_probe/; returns its path for PYTHONPATH.

    Raises OSError where it cannot write, FileExistsError where something is there already.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    shutil.copytree(package, os.path.join(folder, "detctl_probe"), ignore=_LEFT_OUT)
    shutil.copyfile(os.path.join(package, "inject", "sitecustomize.py"), os.path.join(folder, "sitecustomize.py"))
    return os.path.abspath(folder)
