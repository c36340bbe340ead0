"""One place for the copies of a folder, one run after another.

A training that depends on its own path then sees the same path in each twin. It matters only if no private view can cover the folder.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from detctl_agent.state.run_folder import remove_tree


def claim(state: Path, folder: Path) -> Path | None:
    """Returns where the next copy of `folder` goes; None if another run uses that place now. The run's folder gives it back."""
    place = state / "copies" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    try:
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.mkdir(mode=0o700)
    except OSError:  # FileExistsError: another run; on a full disk, making the copy reports it
        return None
    return place / (folder.name or "root")


def sweep(state: Path) -> None:
    """Removes what the runs of an agent that was killed left. The caller holds the lock of the agent's folder."""
    remove_tree(state / "copies")
