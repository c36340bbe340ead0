"""Where an embedded store may lie: on a local file system, held by one coordinator. Network file systems are refused by name, instead
of corrupting data later (detctl_proto/file_systems.py says why).
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from detctl_proto.file_systems import NETWORK_FILE_SYSTEMS, file_system_of, mount_table

from detctl_coordinator.storage.store import StoreError


def refuse_network(file: Path) -> None:
    """Raises StoreError where `file` would lie on a network file system."""
    kind = file_system_of(file.parent.resolve(), mount_table())
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{file} is on a network file system ({kind}), where SQLite loses data: choose a folder on a local disk, "
            f"for example sqlite:/var/tmp/detctl/{file.name}, or use redis://"
        )


def refuse_special(file: Path) -> None:
    """Raises StoreError where something that is not a regular file has the store's name: a named pipe would hold us up for ever."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"store {file} cannot be reached: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"store {file} is not a regular file: choose another one")


class OpenFile:
    """Knows the file behind a path: SQLite goes on writing into one that was deleted, and what it acknowledged is gone with the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._identity = self._now()

    def check(self) -> None:
        """Raises StoreError where the path leads to another file than at first, or to none."""
        if self._now() != self._identity:
            raise StoreError(
                f"store {self._file} was deleted or replaced while it was open: restart the coordinator; what it held is lost"
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
        """Raises StoreError where another process holds it."""
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
            pass  # the pid is only for the message of the next one; a full disk must not keep a store closed

    def release(self) -> None:
        """Lets go; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
