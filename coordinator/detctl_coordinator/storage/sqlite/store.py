"""The embedded store: one SQLite file, one writer thread, a pool of reading connections."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from detctl_proto.files.private_files import private

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import Phase, Seal, SegmentMeta, Stage, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.storage import documents
from detctl_coordinator.storage.limits import check_segment
from detctl_coordinator.storage.refusals import missing_entry, missing_segment
from detctl_coordinator.storage.sqlite import audits, runs
from detctl_coordinator.storage.sqlite.local_folder import FolderLock, refuse_network, refuse_special
from detctl_coordinator.storage.sqlite.schema import explain, open_reader
from detctl_coordinator.storage.sqlite.writer import SqliteWriter
from detctl_coordinator.storage.store import NamedRows, Rows, StoreError

T = TypeVar("T")
IDLE_READERS_MAX = 8  # connections that are kept open; the number of concurrent readers is not limited
FREE_BYTES_LOW = 256 << 20  # below this `check` warns: a run of 10^7 fingerprints takes about this much


class SqliteStore:
    """A Store in the file `path`, which is created with its folder if it is missing. Raises StoreError (see local_folder.py)."""

    def __init__(self, path: str | Path, timeout_s: float = 30.0) -> None:
        self.path = Path(path).absolute()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"cannot make the folder {self.path.parent}: {error.strerror}") from error
        refuse_network(self.path)
        refuse_special(self.path)
        self._lock = FolderLock(self.path)
        try:
            _make_private(self.path)
            self._writer = SqliteWriter(self.path, runs.sweep, timeout_s)
        except BaseException:
            self._lock.release()
            raise
        # A pool instead of a connection per thread: a connection of an ended thread would keep its files open until it is garbage
        # collected.
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False

    # -- audits and runs ------------------------------------------------------------------------------------------
    def put_audit(self, audit: Audit) -> Audit:
        return self._writer.submit(lambda connection: audits.put(connection, audit))

    def audit(self, audit_id: str) -> Audit | None:
        return self._read(lambda connection: audits.get(connection, audit_id))

    def active_audits(self) -> Rows[Audit]:
        return self._read(audits.active)

    def audits(self, limit: int = 100) -> Rows[Audit]:
        return self._read(lambda connection: audits.newest(connection, limit))

    def run(self, run_id: str) -> RunRecord | None:
        return self._read(lambda connection: audits.run(connection, run_id))

    def runs(self, *, audit_id: str = "", machine: str = "", recipe: str = "", limit: int = 100) -> Rows[RunRecord]:
        return self._read(lambda connection: audits.runs(connection, audit_id, machine, recipe, limit))

    def delete_runs(self, run_ids: Sequence[str]) -> list[str]:
        deleted = self._writer.submit(lambda connection: audits.delete_runs(connection, run_ids))
        self._writer.wake_sweeper()
        return deleted

    def delete_older_than(self, unix_s: float, keep_audits: bool = False) -> list[str]:
        deleted = self._writer.submit(lambda connection: audits.delete_older_than(connection, unix_s, keep_audits))
        self._writer.wake_sweeper()
        return deleted

    # -- machines -------------------------------------------------------------------------------------------------
    def put_machine(self, name: str, document: Mapping[str, Any]) -> None:
        text = documents.dump(document)
        sql = "INSERT OR REPLACE INTO machines (name, document) VALUES (?, ?)"
        self._writer.submit(lambda connection: connection.execute(sql, (name, text)) and None)

    def machines(self) -> NamedRows[Mapping[str, Any]]:
        rows = self._read(
            lambda connection: connection.execute("SELECT name, document FROM machines ORDER BY name").fetchall()
        )
        return documents.readable("machine", rows, documents.load)

    # -- tokens and the log ---------------------------------------------------------------------------------------
    def put_token(self, token_id: str, document: Mapping[str, Any]) -> None:
        text = documents.dump(document)
        sql = "INSERT OR REPLACE INTO tokens (token_id, document) VALUES (?, ?)"
        self._writer.submit(lambda connection: connection.execute(sql, (token_id, text)) and None)

    def tokens(self) -> NamedRows[Mapping[str, Any]]:
        sql = "SELECT token_id, document FROM tokens ORDER BY token_id"
        rows = self._read(lambda connection: connection.execute(sql).fetchall())
        return documents.readable("token", rows, documents.load)

    def append_log(self, key: str, entry: Mapping[str, Any]) -> None:
        text = documents.dump({"key": key, **entry})
        # INSERT OR IGNORE would use up a number for an ignored row and leave a gap.
        sql = "INSERT INTO log (key, document) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM log WHERE key = ?)"
        self._writer.submit(lambda connection: connection.execute(sql, (key, text, key)) and None)

    def log(self, before: int = 0, limit: int = 100) -> list[tuple[int, Mapping[str, Any]]]:
        sql = "SELECT number, document FROM log WHERE ? = 0 OR number < ? ORDER BY number DESC LIMIT ?"
        rows = self._read(lambda connection: connection.execute(sql, (before, before, limit)).fetchall())
        return [(number, documents.load_log_entry(number, text)) for number, text in rows]

    # -- data of runs ---------------------------------------------------------------------------------------------
    def open_attempt(self, run_id: str, attempt: int) -> None:
        if self._writer.submit(lambda connection: runs.open_attempt(connection, run_id, attempt)):
            self._writer.wake_sweeper()

    def put_segment(
        self,
        run_id: str,
        attempt: int,
        meta: SegmentMeta,
        columns: bytes,
        closed: Sequence[tuple[StreamKey, StepEntry]],
    ) -> None:
        check_segment(meta, columns, closed)
        self._writer.submit(lambda connection: runs.put_segment(connection, run_id, attempt, meta, columns, closed))

    def put_seal(self, run_id: str, attempt: int, seal: Seal) -> None:
        text = documents.dump(documents.seal_to_json(seal))
        self._writer.submit(lambda connection: runs.put_seal(connection, run_id, attempt, seal.rank, text))

    # -- reading a run --------------------------------------------------------------------------------------------
    def attempt(self, run_id: str) -> int:
        return self._read(lambda connection: runs.current(connection, run_id)[1])

    def seals(self, run_id: str) -> dict[int, Seal]:
        sql = "SELECT rank, document FROM seals WHERE run_no = ? ORDER BY rank"
        return {rank: documents.seal_from_json(documents.load(text)) for rank, text in self._rows(sql, run_id)}

    def streams(self, run_id: str) -> dict[StreamKey, int]:
        sql = "SELECT rank, stage, phase, gapless FROM streams WHERE run_no = ? AND gapless > 0 ORDER BY rank, stage, phase"
        return {
            StreamKey(rank, Stage(stage), Phase(phase)): count for rank, stage, phase, count in self._rows(sql, run_id)
        }

    def entry(self, run_id: str, key: StreamKey, ordinal: int) -> StepEntry:
        found = self.entries(run_id, key, ordinal, ordinal + 1)
        if not found:
            raise missing_entry(run_id, key, ordinal)
        return found[0]

    def entries(self, run_id: str, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        sql = (
            "SELECT ordinal, step, count, digests FROM entries WHERE run_no = ? AND rank = ? AND stage = ? AND phase = ? "
            "AND ordinal >= ? AND ordinal < ? ORDER BY ordinal"
        )
        rows = self._rows(sql, run_id, key.rank, int(key.stage), int(key.phase), start, stop)
        return [
            StepEntry(ordinal, step, count, digests[:16], digests[16:32], digests[32:48])
            for position, (ordinal, step, count, digests) in enumerate(rows, max(start, 0))
            if ordinal == position  # stop at a gap
        ]

    def segment_metas(self, run_id: str, rank: int) -> list[SegmentMeta]:
        sql = (
            "SELECT rank, number, scheme, level, records, first_step, last_step, crc32, bytes FROM segments "
            "WHERE run_no = ? AND rank = ? ORDER BY number"
        )
        return [SegmentMeta(*row) for row in self._rows(sql, run_id, rank)]

    def segment_columns(self, run_id: str, rank: int, numbers: Iterable[int]) -> dict[int, bytes]:
        sql = "SELECT columns FROM segments WHERE run_no = ? AND rank = ? AND number = ?"

        def read(connection: sqlite3.Connection) -> dict[int, bytes]:
            run_no, _ = runs.current(connection, run_id)
            found: dict[int, bytes] = {}
            for number in numbers:
                row = connection.execute(sql, (run_no, rank, number)).fetchone()
                if row is None:
                    raise missing_segment(run_id, rank, number)
                found[number] = row[0]
            return found

        return self._read(read)

    # -- service --------------------------------------------------------------------------------------------------
    def check(self) -> list[str]:
        self._writer.submit(
            lambda connection: connection.execute("UPDATE numbers SET last_run_no = last_run_no") and None
        )
        free = shutil.disk_usage(self.path.parent).free
        if free < FREE_BYTES_LOW:
            return [f"store {self.path}: only {free >> 20} MiB are free on its disk"]
        return []

    def close(self) -> None:
        if self._closed:
            return
        with self._idle_lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
        self._writer.close()
        self._lock.release()

    def _rows(self, sql: str, run_id: str, *values: Any) -> list[Any]:
        """Returns the rows of a query whose first value is the run's number; [] for an unknown run."""

        def read(connection: sqlite3.Connection) -> list[Any]:
            run_no, _ = runs.current(connection, run_id)
            return connection.execute(sql, (run_no, *values)).fetchall()

        return self._read(read)

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `query` in one read transaction, so that it sees one state of the store."""
        self._writer.open_file.check()
        try:
            connection = self._take()
            try:
                connection.execute("BEGIN")
                try:
                    return query(connection)
                finally:
                    connection.execute("ROLLBACK")
            finally:
                self._give_back(connection)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    def _take(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise StoreError(f"store {self.path} is closed")
            if self._idle:
                return self._idle.pop()
        return open_reader(self.path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed and len(self._idle) < IDLE_READERS_MAX:
                self._idle.append(connection)
                return
        connection.close()


def _make_private(file: Path) -> None:
    """Creates the file with mode 0600, because manifests hold variables of trainings. SQLite gives its log the same mode."""
    try:
        os.close(private(str(file), os.O_RDWR | os.O_CREAT))
    except OSError as error:
        raise StoreError(f"cannot open {file} for writing: {error.strerror}") from error
