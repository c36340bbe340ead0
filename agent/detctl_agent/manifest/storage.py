"""On which kind of file system declared places lie."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path


def storage_facts(places: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The section `storage`: by logical name, the file system's type and the path."""
    return {name: {"file_system": file_system(path), "path": path} for name, path in places.items()}


def file_system(path: str) -> str:
    """`ext4`, `tmpfs`, `nfs4` …: the type of the mount with the longest matching point; `missing` where nothing is there."""
    real = os.path.realpath(path)
    if not Path(real).exists():
        return "missing"
    best, kind = "", "unknown"
    for point, mounted in _mounts():
        fits = real == point or real.startswith(point.rstrip("/") + "/")
        if fits and len(point) >= len(best):  # a later mount on the same point hides the earlier
            best, kind = point, mounted
    return kind


def _mounts() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split(" ")
        if len(fields) >= 3:
            found.append((re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]), fields[2]))
    return found
