"""Finds the Python that a command will run in, for the manifest."""

# Paths as text: neither links nor a venv's interpreter may be resolved.
# ruff: noqa: PTH100, PTH117, PTH119

from __future__ import annotations

import os
import shutil
import sys


def interpreter_of(program: str, path: str) -> str:
    """Absolute path of the interpreter: the program itself if it is a Python, else the one in its first line."""
    place = shutil.which(program, path=path) or ""
    if os.path.basename(program).startswith("python") and place:
        return os.path.abspath(place)
    try:
        with open(place, "rb") as stream:
            first = stream.readline(512).decode("utf-8", "replace")
    except OSError:
        first = ""
    shebang = first[2:].split() if first.startswith("#!") else []
    if shebang and os.path.basename(shebang[0]) == "env":
        shebang = [shutil.which(name, path=path) or "" for name in shebang[1:] if not name.startswith("-")]
    if shebang and os.path.basename(shebang[0]).startswith("python") and os.path.isabs(shebang[0]):
        return shebang[0]
    for name in ("python", "python3"):
        if found := shutil.which(name, path=path):
            return os.path.abspath(found)
    return sys.executable
