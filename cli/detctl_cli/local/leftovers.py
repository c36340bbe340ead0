"""What audits that are over have left in the folder of local data, besides their verdicts and fingerprints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.files.overlay_folders import open_work_folders, overlay_folders

STALE = ("coordinator", "catalog.toml")  # a killed command left these in the folder itself


@dataclass(frozen=True)
class Leftovers:
    """Paths of one kind that may be removed. what: the kind, as users read it."""

    what: str
    paths: tuple[Path, ...]

    def size(self) -> int:
        """Returns the bytes that they take on the disk."""
        return sum(size_of(path) for path in self.paths)


def leftovers(data: Path, active_audits: Collection[str]) -> list[Leftovers]:
    """Returns what may be removed. The caller holds the folder's lock, so no run of this folder is in progress.

    active_audits: audits without a verdict, whose run folders stay. A run's folder is named RUN.ATTEMPT, and a run AUDIT.NUMBER.
    """
    agent = data / "agent"
    runs = [run for run in _entries(agent / "runs") if run.name.partition(".")[0] not in active_audits]
    return [
        Leftovers("run folders", tuple(runs)),
        Leftovers("source snapshots", (*_entries(agent / "sources"), *_entries(agent / "git"))),
        Leftovers("writes of killed runs", tuple(path for base in overlay_folders(agent) for path in _entries(base))),
        Leftovers("logs", (*_entries(data / "logs"), *(data / name for name in STALE if (data / name).exists()))),
    ]


def remove(paths: Iterable[Path]) -> None:
    """Removes files and folders as far as possible. `rm` can also remove folders that are nested too deeply for Python."""
    for path in paths:
        if not path.is_symlink():
            open_work_folders(path)
        quiet = subprocess.DEVNULL
        subprocess.run(["rm", "-rf", "--", str(path)], stdin=quiet, stdout=quiet, stderr=quiet, check=False)


def size_of(path: Path) -> int:
    """Returns the bytes that a file or a folder takes on the disk; 0 if it does not exist. It follows no link."""
    return sum(map(_bytes_of, _with_content(path)))


def _with_content(path: Path) -> Iterator[Path]:
    yield path
    for folder, folders, files in () if path.is_symlink() else os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *files))


def _bytes_of(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def _entries(folder: Path) -> list[Path]:
    """Returns what lies in a folder. A link instead of the folder is not followed."""
    try:
        return [] if folder.is_symlink() else sorted(folder.iterdir())
    except OSError:
        return []
