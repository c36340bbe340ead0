"""Files that nobody but their owner reads: recordings, reports, logs. Standard library alone."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def private(path: str, flags: int) -> int:
    """The `opener` of open(): the file is 0600 whatever the umask says, also where an earlier version left it open to others."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        with contextlib.suppress(PermissionError):  # somebody else's file, which we may write
            os.fchmod(descriptor, 0o600)
    return descriptor


def make_private_folder(folder: Path) -> None:
    """Makes a folder (0700) and its parents; one of ours that is there is closed to others. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o700)
