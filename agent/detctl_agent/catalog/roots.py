"""Checks the text of folders that the machine's owner gives as roots."""

from __future__ import annotations

import os
from pathlib import Path

# Files in these folders are interfaces of the kernel, of devices and of daemons (/var/run is a link to /run).
SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/var/run")))
MEMORY = Path("/dev/shm")  # plain files, though it lies in /dev


def root_problem(root: str) -> str:
    """Why values from remote may not come from this root, by its text alone; empty if they may."""
    if not root.startswith("/"):
        return f"must be an absolute path, not {root!r}"
    if not root.isprintable():
        return f"{root!r} holds characters that cannot be printed"
    if normalized(root) == Path("/"):
        return "'/' is every file of this machine: name the folders that hold data"
    if is_of_system(normalized(root)):
        return f"{root!r} holds interfaces of the system and no data: name the folders that hold data"
    return ""


def normalized(text: str) -> Path:
    """An absolute path without `.` and `..`, by its text alone."""
    return Path("/" + os.path.normpath(text).lstrip("/"))


def real_path(path: Path | str) -> Path:
    """The path with all links followed, whether it exists or not."""
    return Path(os.path.realpath(path))


def is_of_system(place: Path) -> bool:
    """Whether a place holds interfaces of the kernel, of devices or of daemons instead of data."""
    inside_memory = place != MEMORY and place.is_relative_to(MEMORY)
    return any(place.is_relative_to(folder) for folder in SYSTEM) and not inside_memory
