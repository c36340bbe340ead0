"""Tables of the embedded store, and the functions that open connections to it.

The key of a run's data is `run_no`, a small integer for one *attempt* of a run, so rows stay small. A newer attempt or a deletion only
changes the current number; the rows of the old number are swept later in slices (`garbage`).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from detctl_coordinator.storage.store import StoreError

SCHEMA_VERSION = 3
APPLICATION_ID = 0x64746374  # "dtct": distinguishes our file from any other SQLite database

# Since schema 2. The triggers make the log append-only for every program that opens the file.
_IDENTITY = """
CREATE TABLE tokens (token_id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE log (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
CREATE TRIGGER log_keeps BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_stays BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""
# Since schema 3. Runs of audits that are over are closed at once, others when their audit changes the next time.
_CLOSED = """
ALTER TABLE runs ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET closed = attempt WHERE audit_id IN (SELECT audit_id FROM audits WHERE NOT active);
"""
_TABLES = """
CREATE TABLE audits (
    audit_id TEXT PRIMARY KEY, version INTEGER NOT NULL, active INTEGER NOT NULL, created REAL NOT NULL, document TEXT NOT NULL
);
CREATE INDEX audits_by_time ON audits (created, audit_id);
CREATE INDEX audits_active ON audits (audit_id) WHERE active;
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, run_no INTEGER NOT NULL, attempt INTEGER NOT NULL, audit_id TEXT NOT NULL,
    machine TEXT NOT NULL, recipe TEXT NOT NULL, created REAL NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0 -- attempts up to this one accept no new data
);
CREATE INDEX runs_by_time ON runs (created, run_id);
CREATE INDEX runs_by_audit ON runs (audit_id);
CREATE TABLE numbers (last_run_no INTEGER NOT NULL);
INSERT INTO numbers VALUES (0);
CREATE TABLE garbage (run_no INTEGER PRIMARY KEY);
CREATE TABLE machines (name TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE segments (
    run_no INTEGER NOT NULL, rank INTEGER NOT NULL, number INTEGER NOT NULL,
    scheme TEXT NOT NULL, level TEXT NOT NULL, records INTEGER NOT NULL, first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL, crc32 INTEGER NOT NULL, bytes INTEGER NOT NULL, columns BLOB NOT NULL
);
CREATE UNIQUE INDEX segments_by_number ON segments (run_no, rank, number);
CREATE TABLE entries (
    run_no INTEGER, rank INTEGER, stage INTEGER, phase INTEGER, ordinal INTEGER,
    step INTEGER NOT NULL, count INTEGER NOT NULL, digests BLOB NOT NULL, -- digest, sum, chain: 16 bytes each
    PRIMARY KEY (run_no, rank, stage, phase, ordinal)
) WITHOUT ROWID;
CREATE TABLE streams (
    run_no INTEGER, rank INTEGER, stage INTEGER, phase INTEGER, gapless INTEGER NOT NULL, -- entries 0..gapless-1 exist
    PRIMARY KEY (run_no, rank, stage, phase)
) WITHOUT ROWID;
CREATE TABLE seals (
    run_no INTEGER, rank INTEGER, document TEXT NOT NULL, PRIMARY KEY (run_no, rank)
) WITHOUT ROWID;
"""


def open_writer(file: Path, busy_s: float = 10.0) -> sqlite3.Connection:
    """Opens or creates the store for writing. Raises StoreError for a foreign, damaged or newer file, and sqlite3.Error."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=busy_s)
    try:
        # Must precede the first table. Freed pages can then be released in slices, without a VACUUM that copies the file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreError(f"{file} is an SQLite database, but not detctl's: choose another file")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{file} was written by a newer detctl (its schema is {version}, this detctl reads up to {SCHEMA_VERSION}): upgrade detctl"
            )
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{file}: its file system cannot hold a write-ahead log; choose a folder on a local disk")
        # With FULL, a commit survives a power cut once it returns; NORMAL would lose the last commits.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")
        # Checkpoint the log every MiB, not every 4 MiB, because a small disk has no space for the data twice.
        connection.execute("PRAGMA wal_autocheckpoint = 256")
        connection.execute("PRAGMA journal_size_limit = 1048576")
        if not tables:
            connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
                f"{_TABLES} {_IDENTITY} COMMIT;"
            )
        elif version < SCHEMA_VERSION:
            steps = (_IDENTITY if version < 2 else "") + _CLOSED
            connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {SCHEMA_VERSION}; {steps} COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(file: Path, busy_s: float = 10.0) -> sqlite3.Connection:
    """Returns a read-only connection; does not create a file. Raises sqlite3.Error."""
    address = (
        f"{file.as_uri()}?mode=rw"  # rw, because readers of a write-ahead log write their marks into the shared index
    )
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_s)
    connection.execute("PRAGMA query_only = ON")
    return connection


def explain(error: sqlite3.Error, file: Path) -> StoreError:
    """Returns an error with one line for people: what is wrong with the store, and what to do."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if (
        name.startswith("SQLITE_FULL")
        or "disk is full" in str(error)
        or name in {"SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_WRITE"}
    ):
        text = "the disk is full: free space there; nothing of this write was stored"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_AUTH")):
        text = "cannot be written or opened: check that folder and file exist and belong to this user"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        text = "is locked by another program: stop it (only one coordinator may use the file)"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        text = "is damaged or not an SQLite database: move it away, or restore it from a copy"
    else:
        text = f"failed: {error}"
    suffix = f" ({name})" if name else ""
    return StoreError(f"store {file} {text}{suffix}")
