"""Where an agent keeps what trainings write behind their private overlays. Standard library alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

SCRATCH = Path("/var/tmp")  # on a disk on nearly every system, and not emptied while a training runs


def overlay_folders(state: Path) -> tuple[Path, Path]:
    """Returns the two places for an agent whose folder is `state`: inside of it, and below /var/tmp."""
    place = Path(os.path.realpath(state))
    key = hashlib.sha256(os.fsencode(place)).hexdigest()[:16]
    return place / "overlays", SCRATCH / f"detctl-{os.getuid()}" / f"overlays-{key}"


def open_work_folders(scratch: Path) -> None:
    """Makes a scratch folder removable: the kernel leaves folders in it that their owner must open first."""
    for place in scratch.glob("work*/work"):
        try:
            place.chmod(0o700)
        except OSError:
            pass
