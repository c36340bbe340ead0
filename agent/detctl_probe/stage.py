"""Puts the probe, alone, into a private folder that then stands first on a training's PYTHONPATH."""

from __future__ import annotations

import os
import shutil

# Compiled modules are copied too, so that a training need not compile the probe (a copy keeps the time that they are checked by), but not
# those that another process is just writing.
_LEFT_OUT = shutil.ignore_patterns("inject", "*.c", "*.h", "build", "*.pyc.*")


def stage(folder: str) -> str:
    """Makes `folder` (which must not hold anything yet) hold sitecustomize.py and detctl_probe/; returns its path for PYTHONPATH.

    Raises OSError if it cannot write, FileExistsError if something is there already.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    shutil.copytree(package, os.path.join(folder, "detctl_probe"), ignore=_LEFT_OUT)
    shutil.copyfile(os.path.join(package, "inject", "sitecustomize.py"), os.path.join(folder, "sitecustomize.py"))
    return os.path.abspath(folder)
