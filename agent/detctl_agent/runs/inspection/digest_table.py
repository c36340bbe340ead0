"""Keeps the digests of data files between runs, by device, inode, size and time of change."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from detctl_proto.files.regular_file import RegularFileError, read_regular

ENTRIES_MAX = 100_000
BYTES_MAX = 32 * 1024 * 1024


class FileState(NamedTuple):
    """What identifies the content of a file. A program that writes a file and sets its time back deceives it."""

    device: int
    inode: int
    bytes: int
    mtime_ns: int


class DigestTable:
    """A file of JSON in the agent's state. None: digests are kept for this process alone. Thread-safe: runs may end at the same time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, str] = self._read()
        self._changed = False
        self._lock = threading.Lock()

    def get(self, state: FileState) -> str | None:
        return self._known.get(_key(state))

    def add(self, state: FileState, digest: str) -> None:
        """Adds a digest; the oldest entries make room."""
        with self._lock:
            while len(self._known) >= ENTRIES_MAX:
                del self._known[next(iter(self._known))]
            self._known[_key(state)] = digest
            self._changed = True

    def write(self) -> None:
        """Replaces the file. A full disk, or one that is read-only, only means that files are read again."""
        if self._path is None or not self._changed:
            return
        with self._lock:
            known = dict(self._known)
            self._changed = False
        try:
            descriptor, name = tempfile.mkstemp(prefix=".digests-", dir=self._path.parent)
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                json.dump(known, stream)
            Path(name).replace(self._path)
        except OSError:
            return

    def _read(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            found = json.loads(read_regular(self._path, BYTES_MAX))
        except (RegularFileError, ValueError, RecursionError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _key(state: FileState) -> str:
    return "/".join(str(number) for number in state)
