"""Checks the folder of an embedded store: it must be on a local file system, and only one coordinator may use it. Network file systems
are refused, because they would corrupt data later (detctl_proto/files/file_systems.py gives the reasons).
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from detctl_proto.files.file_systems import NETWORK_FILE_SYSTEMS, file_system_of, mount_table

from detctl_coordinator.storage.store import StoreError


def refuse_network(file: Path) -> None:
    """Raises StoreError if `file` would be on a network file system."""
    kind = file_system_of(file.parent.resolve(), mount_table())
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{file} is on a network file system ({kind}), where SQLite loses data: choose a folder on a local disk, "
            f"for example sqlite:/var/tmp/detctl/{file.name}, or use redis://"
        )


def refuse_special(file: Path) -> None:
    """Raises StoreError if `file` exists and is not a regular file: opening a named pipe would block forever."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"store {file} cannot be reached: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"store {file} is not a regular file: choose another one")


class OpenFile:
    """Notices if the file behind a path is deleted or replaced: SQLite would go on writing into the deleted file, and the acknowledged
    data would be lost when the process ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._identity = self._now()

    def check(self) -> None:
        """Raises StoreError if the path leads to another file than at first, or to none."""
        if self._now() != self._identity:
            raise StoreError(
                f"store {self._file} was deleted or replaced while it was open, and its data is lost: restart the coordinator"
            )

    def _now(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"store {self._file} cannot be reached: {error.strerror}") from error
        return found.st_dev, found.st_ino


class FolderLock:
    """An exclusive lock on `FILE.lock`; the kernel drops it when the process ends, however it ends."""

    def __init__(self, file: Path) -> None:
        """Raises StoreError if another process holds the lock."""
        self.path = file.with_name(file.name + ".lock")
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {self.path}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise StoreError(f"{self.path} is not a regular file: remove it, or choose another store")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreError(
                f"{file} is in use by another coordinator (pid {holder}): stop it, or choose another file"
            ) from error
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # the pid only serves the error message of another process; a full disk must not prevent opening the store

    def release(self) -> None:
        """Releases the lock. May be repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
