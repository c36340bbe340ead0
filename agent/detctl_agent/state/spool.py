"""The spool: segments and seals of one run on disk, before anything is sent. Format: run_folder.py.

One writer appends and syncs in groups; only synced data may be read for sending. Readers check length and CRC and stop at the
first damaged record, so a torn or flipped tail is dropped and reported, never sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.files.private_files import private
from detctl_proto.files.regular_file import RegularFileError, open_regular, read_regular
from detctl_proto.recordings.recording_log import MAGIC, pack_record, read_records

from detctl_agent.errors import DiskFullError
from detctl_agent.state.run_folder import disk_error

LOG = "log"
ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True)
class SpoolRecord:
    """One message; `end` is the position after it in the log."""

    start: int
    end: int
    payload: bytes


@dataclass(frozen=True)
class SpoolCheck:
    """The result of a scan: `good_bytes` are complete, `dropped_bytes` after them are not."""

    records: int
    good_bytes: int
    dropped_bytes: int


class SpoolWriter:
    """Appends messages to a new log. Not thread-safe. Every write may raise DiskFullError or AgentError; what was synced
    before stays valid."""

    def __init__(self, folder: Path, bytes_max: int | None = None) -> None:
        """bytes_max: of all messages; more are refused."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._bytes_max = bytes_max
        self._path = folder / LOG
        self._file = -1
        self._pending: list[bytes] = []
        self._pending_records = 0
        self.records = 0
        self.synced_bytes = self.unsynced_bytes = 0
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._write_all(MAGIC)
            os.fsync(self._file)
            directory = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            self.close()
            raise disk_error(error, folder) from error
        self.synced_bytes = len(MAGIC)

    def append(self, payload: bytes) -> None:
        """Adds one message, which is on disk after the next `sync`. Raises ValueError beyond MESSAGE_BYTES_MAX, DiskFullError beyond
        the limit of the spool."""
        if self._bytes_max is not None and self.synced_bytes + self.unsynced_bytes > self._bytes_max:
            raise DiskFullError(f"more than {self._bytes_max // 1024**2} MiB of fingerprints: shorten the window")
        record = pack_record(payload)
        self._pending.append(record)
        self.unsynced_bytes += len(record)
        self._pending_records += 1

    def sync(self) -> None:
        """Writes and fsyncs what was appended. Raises DiskFullError or AgentError; then the log ends where it ended before."""
        if not self._pending:
            return
        group = b"".join(self._pending)
        records = self._pending_records
        self._pending, self._pending_records, self.unsynced_bytes = [], 0, 0
        try:
            self._write_all(group)
            os.fsync(self._file)
        except OSError as error:
            try:
                os.ftruncate(self._file, self.synced_bytes)
                os.lseek(self._file, self.synced_bytes, os.SEEK_SET)
            except OSError:
                pass  # the reader's CRC finds the torn tail
            raise disk_error(error, self._path.parent) from error
        self.records += records
        self.synced_bytes += len(group)

    def close(self) -> None:
        """Closes the log without writing what was not synced."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]


def read(folder: Path, start: int = 0, stop: int | None = None) -> Iterator[SpoolRecord]:
    """Valid records from position `start` (0: the first) up to `stop` or the first damaged one."""
    try:
        stream = open_regular(folder / LOG, None)
    except RegularFileError:
        return
    with stream:
        position = max(start, len(MAGIC))
        records = read_records(stream, start)
        while stop is None or position < stop:
            if (found := next(records, None)) is None:
                return
            payload, end = found
            yield SpoolRecord(position, end, payload)
            position = end


def check(folder: Path) -> SpoolCheck:
    """Scans a log for its valid part and the damaged rest. A log that is missing, or not a regular file, counts as empty and valid."""
    try:
        with open_regular(folder / LOG, None) as stream:
            size = os.fstat(stream.fileno()).st_size
            good = len(MAGIC) if stream.read(len(MAGIC)) == MAGIC else 0
    except RegularFileError:
        return SpoolCheck(0, 0, 0)
    records = 0
    for record in read(folder):
        records, good = records + 1, record.end
    return SpoolCheck(records, good, max(0, size - good))


def write_acknowledged(folder: Path, position: int) -> None:
    """Notes that everything before `position` was acknowledged. Not durable on purpose: sending again is harmless."""
    try:
        temporary = folder / f".{ACKNOWLEDGED}.new"
        with open(temporary, "w", encoding="ascii", opener=private) as stream:
            stream.write(str(position))
        temporary.replace(folder / ACKNOWLEDGED)
    except OSError:
        pass


def read_acknowledged(folder: Path) -> int:
    """The position that was noted, or 0."""
    try:
        return max(0, int(read_regular(folder / ACKNOWLEDGED, 32)))
    except (OSError, ValueError):
        return 0
