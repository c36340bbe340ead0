"""The one thread that writes to the embedded store.

Group commit: while one transaction is being flushed to the disk, callers queue; the next transaction takes all of them, so the
cost of a flush is shared. Each caller waits for its own result, and has it only after the commit: acknowledged means on disk.
A job that fails is rolled back alone (savepoint); where the transaction itself fails, its jobs are tried again one by one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any, TypeVar

from detctl_coordinator.storage.sqlite.local_folder import OpenFile
from detctl_coordinator.storage.sqlite.schema import explain, open_writer
from detctl_coordinator.storage.store import StoreError

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

QUEUE_JOBS_MAX = 64  # back-pressure: a segment has at most a few hundred KiB
GROUP_JOBS_MAX = 32
SLICES_AT_CLOSE_MAX = 64  # deleted rows that are left then are swept at the next start


class SqliteWriter:
    """Owns the writing connection. `sweep(connection)` is called when idle, until it returns False (nothing left)."""

    def __init__(self, file: Path, sweep: Callable[[sqlite3.Connection], bool], timeout_s: float = 30.0) -> None:
        self._file = file
        self._sweep = sweep
        self._timeout_s = timeout_s
        try:
            self._connection = open_writer(file, timeout_s / 3)  # so that SQLite's own word for the trouble comes first
        except sqlite3.Error as error:
            raise explain(error, file) from error
        self.open_file = OpenFile(file)
        self._jobs: deque[tuple[Job, Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._sweeping = True
        self._thread = threading.Thread(target=self._work, name="detctl-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `job` in a transaction on the writer's thread; returns its result once that is on the disk.

        Raises what the job raised (then nothing of it is stored), or StoreError.
        """
        future: Future[T] = Future()
        with self._changed:
            free = self._changed.wait_for(lambda: self._closing or len(self._jobs) < QUEUE_JOBS_MAX, self._timeout_s)
            if self._closing:
                raise StoreError(f"store {self._file} is closed")
            if not free:
                raise StoreError(
                    f"store {self._file} is too slow: {QUEUE_JOBS_MAX} writes waited {self._timeout_s:g} s"
                )
            self._jobs.append((job, future))
            self._changed.notify_all()
        try:
            return future.result(self._timeout_s)
        except FutureTimeoutError as error:
            if future.done():  # the job's own TimeoutError
                raise
            future.cancel()  # what has not begun will not be done behind the caller's back
            raise StoreError(f"store {self._file} did not finish a write within {self._timeout_s:g} s") from error

    def wake_sweeper(self) -> None:
        """Tells the thread that rows may be waiting to be swept."""
        with self._changed:
            self._sweeping = True
            self._changed.notify_all()

    def close(self) -> None:
        """Finishes what was queued, then ends the thread. Harmless when repeated."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closing or self._sweeping)
                group = [self._jobs.popleft() for _ in range(min(len(self._jobs), GROUP_JOBS_MAX))]
                self._changed.notify_all()
                if not group and self._closing:
                    break
            if group:
                self._run([item for item in group if item[1].set_running_or_notify_cancel()])
            else:
                self._sweeping = self._sweep_once()
        for _ in range(SLICES_AT_CLOSE_MAX):
            if not self._sweep_once():
                break
        self._connection.close()

    def _run(self, group: list[tuple[Job, Future[Any]]]) -> None:
        if not group:
            return
        results: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job, future in group:
                results.append((future, *self._run_one(job)))
            self._connection.execute("COMMIT")
            self.open_file.check()  # after the commit: what went into a deleted file is not acknowledged
        except StoreError as error:
            self._roll_back()
            for _, future in group:
                future.set_exception(error)
            return
        except sqlite3.Error as error:
            self._roll_back()
            if len(group) == 1:
                group[0][1].set_exception(explain(error, self._file))
            else:
                for item in group:
                    self._run([item])
            return
        except BaseException as error:
            self._roll_back()
            for _, future in group:
                future.set_exception(StoreError(f"store {self._file} failed: {error!r}"))
            return
        for future, value, failure in results:
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)

    def _run_one(self, job: Job) -> tuple[Any, BaseException | None]:
        self._connection.execute("SAVEPOINT job")
        try:
            value = job(self._connection)
        except sqlite3.Error:
            raise  # the whole transaction may be gone (SQLITE_FULL rolls it back)
        except Exception as failure:
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return None, failure
        self._connection.execute("RELEASE job")
        return value, None

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # SQLite has rolled back by itself

    def _sweep_once(self) -> bool:
        """One slice; True where more is left and the disk lets us."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            more = self._sweep(self._connection)
            self._connection.execute("COMMIT")
            # executescript steps the pragma to its end; execute would free a single page.
            self._connection.executescript("PRAGMA incremental_vacuum(8192)")
        except sqlite3.Error:
            self._roll_back()  # a full disk: the next deletion, or the next start, tries again
            return False
        return more
