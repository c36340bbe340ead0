"""Decides whether a training can run in its own folder behind a private overlay, and clears away what it wrote there.

`launcher/private_view.py` makes the view; this is the agent's side of it (docs/adr/0041).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.files.overlay_folders import open_work_folders, overlay_folders

from detctl_agent import logs
from detctl_agent.launcher import private_view

CHECK_S = 20.0
log = logs.logger("source")


@dataclass(frozen=True)
class View:
    """A private view of `folder`, whose changes go to `scratch`; in_memory: to a tmpfs that is mounted there.

    shared: folders below `folder` in which the training writes for real."""

    folder: Path
    scratch: Path
    in_memory: bool = False
    shared: tuple[Path, ...] = ()

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` in the view."""
        plan = {
            "folder": str(self.folder),
            "scratch": str(self.scratch),
            "in_memory": self.in_memory,
            "shared": [str(place) for place in self.shared],
        }
        return [sys.executable, "-I", "-S", private_view.__file__, json.dumps(plan), *argv]


class Overlays:
    """Which folders can be covered. It tries each folder once, in a process of its own, and remembers the answer.

    state: the agent's folder. Changes are kept below it, unless it lies inside of the folder that is covered: an overlay
    cannot keep its changes there. They go to /var/tmp then, and the training still writes to `state` for real.
    """

    def __init__(self, state: Path) -> None:
        self._state = Path(os.path.realpath(state))
        self._own, self._elsewhere = overlay_folders(self._state)
        self._tried: dict[Path, tuple[View | None, str]] = {}

    def can_cover(self, folder: Path) -> bool:
        """Whether a run can have a private view of this folder. Logs once why not."""
        return self._answer(folder)[0] is not None

    def why_not(self, folder: Path) -> str:
        """Why no run can have a private view of this folder; empty if it can, or if nobody has tried yet."""
        found = self._tried.get(Path(os.path.realpath(folder)))
        return found[1] if found is not None else ""

    def view(self, folder: Path, run: str, paths: Sequence[str] = (), *, repository: bool = False) -> View | None:
        """The view for one run, with its empty scratch folder; None if the folder cannot be covered.

        paths: files below `folder` that the run may change. A process that is not root cannot change a file of another user or
        group in an overlay, as its namespace knows its own ids alone.
        repository: the view covers the whole git repository around the folder if it can, since scripts also write to `../out`.
        """
        root = repository_of(folder) if repository else None
        if root is not None and root != folder and self._answer(root)[0] is not None:
            below = folder.relative_to(root)
            if view := self.view(root, run, [str(below / path) for path in paths]):
                return view
        found, _ = self._answer(folder)
        if found is None or (other := _of_somebody_else(folder, paths)):
            if found is not None:
                log.warning(logs.line("folder_copied", folder=folder, why=f"{other} belongs to another user or group"))
            return None
        return View(folder, _scratch(found.scratch.parent, run), found.in_memory, found.shared)

    def sweep(self) -> None:
        """Removes what the runs of an agent that was killed left. The caller holds the lock of the agent's folder."""
        for base in (self._own, self._elsewhere):
            for scratch in base.glob("*") if base.is_dir() and not base.is_symlink() else ():
                clear(scratch)

    def _answer(self, folder: Path) -> tuple[View | None, str]:
        place = Path(os.path.realpath(folder))
        if place not in self._tried:
            self._tried[place] = self._try(place)
            if why := self._tried[place][1]:
                log.warning(logs.line("folder_copied", folder=place, why=why))
        return self._tried[place]

    def _try(self, folder: Path) -> tuple[View | None, str]:
        inside = self._state.is_relative_to(folder)
        shared = (self._state,) if inside else ()
        why = ""
        for in_memory in (False, True):
            try:
                scratch = _scratch(self._elsewhere if inside else self._own, "check")
            except OSError as error:
                return None, f"{error.filename}: {error.strerror}"
            view = View(folder, scratch, in_memory, shared)
            try:
                ran = subprocess.run(
                    view.command(()), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CHECK_S, cwd="/"
                )
            except (OSError, subprocess.SubprocessError) as error:
                return None, str(error)
            finally:
                clear(scratch)
            if ran.returncode == 0:
                return view, ""
            why = ran.stderr.strip().removeprefix("detctl: ") or f"exit {ran.returncode}"
        return None, why


def repository_of(folder: Path, home: Path | None = None) -> Path | None:
    """The outermost git working tree around this folder: that of the project, if the folder lies in a submodule. None if there is none.

    A tree that holds the user's home does not count: what a training writes there, such as caches of downloads, is not part of a
    project."""
    home = Path(os.path.realpath(home or os.path.expanduser("~")))  # noqa: PTH111 - Path.home() fails without a home
    trees = [place for place in (folder, *folder.parents) if (place / ".git").exists()]
    return next((tree for tree in reversed(trees) if not home.is_relative_to(os.path.realpath(tree))), None)


def clear(scratch: Path) -> None:
    """Removes a scratch folder, and the folder above it unless other runs use that."""
    open_work_folders(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):
        scratch.parent.rmdir()


def keep_written(scratch: Path, target: Path) -> None:
    """Moves what a run wrote into its private view to `target`. Removed files leave no trace. Raises OSError.

    Of several file systems that were mounted in the folder, only what was written to the first, the folder's own, is kept."""
    written = scratch / "upper0"
    if not written.is_dir():  # the view was in memory, and is gone
        return
    for path, _, files in os.walk(written):
        for name in files:
            place = Path(path) / name
            if stat.S_ISCHR(place.lstat().st_mode):  # the mark of a removed file
                place.unlink()
    shutil.move(written, target)


def _scratch(base: Path, run: str) -> Path:
    """A new folder of this user below `base`. Raises OSError if another user owns one of the folders above it."""
    while True:
        for folder in (base.parent, base):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
        try:
            return Path(tempfile.mkdtemp(prefix=f"{run}-", dir=base))
        except FileNotFoundError:  # another run has just removed the empty folder
            continue


def _of_somebody_else(folder: Path, paths: Sequence[str]) -> str:
    if os.geteuid() == 0:
        return ""
    mine = (os.geteuid(), os.getegid())
    places = dict.fromkeys(place for path in paths for place in (path, path.rpartition("/")[0]))
    for path in ("", *places):
        try:
            found = os.lstat(folder / path)
        except OSError:
            continue
        if (found.st_uid, found.st_gid) != mine:
            return path or str(folder)
    return ""
