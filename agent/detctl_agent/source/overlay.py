"""Decides whether a training can run in its own folder behind a private overlay, and clears away what it wrote there.

`launcher/private_view.py` makes the view; this is the agent's side of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detctl_agent.launcher import private_view

CHECK_S = 20.0
SCRATCH_FALLBACK = Path("/var/tmp")  # on a disk on nearly every system, and not emptied while a training runs


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


@dataclass
class Overlays:
    """Which folders can be covered. It tries each folder once, in a process of its own, and remembers the answer.

    state: the agent's folder, kept writable behind the overlay where it lies inside of a training's folder."""

    state: Path
    _answers: dict[Path, tuple[View | None, str]] = field(default_factory=dict)

    def view(self, folder: Path, run: str) -> tuple[View | None, str]:
        """(the view for one run, "") with its scratch folder made, or (None, one line that says why there is none)."""
        place = Path(os.path.realpath(folder))
        if place not in self._answers:
            self._answers[place] = self._tried(place)
        found, why = self._answers[place]
        if found is None:
            return None, why
        scratch = Path(tempfile.mkdtemp(prefix=f"{run}-", dir=found.scratch.parent))
        return View(folder, scratch, found.in_memory, found.shared), ""

    def _tried(self, folder: Path) -> tuple[View | None, str]:
        state = Path(os.path.realpath(self.state))
        inside = state.is_relative_to(folder)
        shared = (state,) if inside else ()
        why = ""
        for base, in_memory in ((self._base(inside), False), (self._base(inside), True)):
            try:
                base.mkdir(mode=0o700, parents=True, exist_ok=True)
                scratch = Path(tempfile.mkdtemp(prefix="check-", dir=base))
            except OSError as error:
                why = f"{base}: {error.strerror}"
                continue
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

    def _base(self, inside: bool) -> Path:
        # An overlay cannot keep its changes inside of the folder that it covers.
        return SCRATCH_FALLBACK / f"detctl-{os.getuid()}" / "overlays" if inside else self.state / "overlays"


def clear(scratch: Path) -> None:
    """Removes a scratch folder. The kernel leaves a folder in it that its owner must open first."""
    for place in scratch.glob("work*/work"):
        try:
            place.chmod(0o700)
        except OSError:
            pass
    shutil.rmtree(scratch, ignore_errors=True)
