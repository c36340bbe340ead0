"""Makes files and folders that only their owner can read: recordings, reports, logs. Standard library alone."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An `opener` for open(): the file gets mode 0600 whatever the umask is, even if an earlier version left it open to others."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        with contextlib.suppress(PermissionError):  # the file of another user, which this process may write
            os.fchmod(descriptor, 0o600)
    return descriptor


def make_private_folder(folder: Path) -> None:
    """Makes a folder (0700) and its parents; closes an existing folder of this user to others. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o700)
