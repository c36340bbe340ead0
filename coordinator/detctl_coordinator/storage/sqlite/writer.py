"""The only thread that writes to the embedded store.

It uses group commit: callers queue while a transaction is flushed to the disk, and the next transaction takes all of them, so they
share the cost of a flush. Each caller gets its result after the commit, when its data is on the disk. A job that fails is rolled back
alone (savepoint); if the transaction itself fails, its jobs are tried again one by one.
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

QUEUE_JOBS_MAX = 64  # callers wait beyond this; a segment has at most a few hundred KiB
GROUP_JOBS_MAX = 32
SLICES_AT_CLOSE_MAX = 64  # the next start sweeps the remaining deleted rows


class SqliteWriter:
    """Owns the writing connection. When idle, calls `sweep(connection)` until it returns False."""

    def __init__(self, file: Path, sweep: Callable[[sqlite3.Connection], bool], timeout_s: float = 30.0) -> None:
        self._file = file
        self._sweep = sweep
        self._timeout_s = timeout_s
        try:
            self._connection = open_writer(
                file, timeout_s / 3
            )  # shorter than our timeout, so that SQLite's own error comes first
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
        """Runs `job` in a transaction on the writer's thread, and returns its result when the data is on the disk.

        Raises the job's exception (nothing is stored then), or StoreError.
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
            future.cancel()  # so that a job that has not begun does not run later
            raise StoreError(f"store {self._file} did not finish a write within {self._timeout_s:g} s") from error

    def wake_sweeper(self) -> None:
        """Wakes the thread, because there may be rows to sweep."""
        with self._changed:
            self._sweeping = True
            self._changed.notify_all()

    def close(self) -> None:
        """Finishes queued jobs, then ends the thread. May be repeated."""
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
            self.open_file.check()  # after the commit, so that writes into a deleted file are not acknowledged
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
            raise  # the whole transaction may have been rolled back (SQLITE_FULL does that)
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
            pass  # SQLite has already rolled back

    def _sweep_once(self) -> bool:
        """Sweeps one slice. Returns True if more is left and the disk allows it."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            more = self._sweep(self._connection)
            self._connection.execute("COMMIT")
            # executescript runs the pragma to its end; execute would free only one page.
            self._connection.executescript("PRAGMA incremental_vacuum(8192)")
        except sqlite3.Error:
            self._roll_back()  # the disk is full; the next deletion or the next start tries again
            return False
        return more
