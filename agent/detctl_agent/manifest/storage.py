"""The kind of file system of each declared place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from detctl_proto.files.file_systems import file_system_of, mount_table


def storage_facts(places: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The section `storage`: by logical name, the file system's type and the path."""
    return {name: {"file_system": file_system(path), "path": path} for name, path in places.items()}


def file_system(path: str) -> str:
    """`ext4`, `tmpfs`, `nfs4` …; `missing` if nothing is there, `unknown` if no mount matches."""
    real = Path(os.path.realpath(path))
    return (file_system_of(real, mount_table()) or "unknown") if real.exists() else "missing"
