"""Adds what git ignores to a run's copy of a folder: data above all. It serves where no overlay can cover the folder."""

# Paths as text: links must not be resolved.
# ruff: noqa: PTH115

from __future__ import annotations

import os
import shutil
from pathlib import Path

from detctl_agent.source.copying import copy_content
from detctl_agent.source.source_set import EXCLUDED_FOLDERS
from detctl_agent.state.run_folder import disk_error

COPIED_BYTES_MAX = 2 * 1024**3  # of one run, all in all
LINKED_FROM_BYTES = 64 * 1024 * 1024


def add_ignored(folder: Path, copy: Path) -> None:
    """Adds every file of `folder` that `copy` lacks, except caches, repositories and virtual environments.

    Small files are copied. A large one becomes a symbolic link once COPIED_BYTES_MAX are spent: a run that writes to it changes
    the original. Raises DiskFullError or AgentError.
    """
    left = COPIED_BYTES_MAX
    try:
        for path, names, files in os.walk(folder):
            names[:] = [
                name for name in names if name not in EXCLUDED_FOLDERS and not (Path(path) / name / "run.json").exists()
            ]
            place = copy / Path(path).relative_to(folder)
            place.mkdir(parents=True, exist_ok=True)
            links = [name for name in names if (Path(path) / name).is_symlink()]
            for name in (*files, *links):
                origin, target = Path(path) / name, place / name
                if os.path.lexists(target) or not (origin.is_symlink() or origin.is_file()):
                    continue
                if origin.is_symlink():
                    target.symlink_to(os.path.join(path, os.readlink(origin)))  # noqa: PTH118
                    continue
                size = origin.stat().st_size
                if size > LINKED_FROM_BYTES and size > left:
                    target.symlink_to(origin)
                    continue
                copy_content(origin, target)
                shutil.copystat(origin, target)
                left -= size
    except OSError as error:
        raise disk_error(error, copy) from error
