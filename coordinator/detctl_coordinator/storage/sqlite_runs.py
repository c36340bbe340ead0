"""What runs sent, as SQL: fencing by attempt, segments, the index by step, seals; each inside a transaction of the caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import groupby

from detctl_coordinator.domain.fingerprint import SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.storage.limits import check_gap
from detctl_coordinator.storage.store import Fenced, StoreError

SWEEP_SEGMENTS = 64  # rows a slice: a sweep must not hold up writers for long
SWEEP_ENTRIES = 8192


def current(connection: sqlite3.Connection, run_id: str) -> tuple[int, int]:
    """(run_no, attempt) of a run; (0, 0) where it is unknown or no attempt was opened."""
    row = connection.execute("SELECT run_no, attempt FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def open_attempt(connection: sqlite3.Connection, run_id: str, attempt: int) -> bool:
    """Lets `attempt` write and fences older ones; True where rows of an older one are left to sweep. Raises Fenced."""
    row = connection.execute("SELECT run_no, attempt FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise Fenced(f"run {run_id} is unknown: it was deleted or never planned")
    run_no, opened = row
    if attempt < opened or attempt < 1:
        raise Fenced(f"run {run_id}: attempt {attempt} is older than attempt {opened}")
    if attempt == opened:
        return False
    connection.execute("UPDATE numbers SET last_run_no = last_run_no + 1")
    sql = "UPDATE runs SET attempt = ?, run_no = (SELECT last_run_no FROM numbers) WHERE run_id = ?"
    connection.execute(sql, (attempt, run_id))
    if run_no:
        connection.execute("INSERT OR IGNORE INTO garbage (run_no) VALUES (?)", (run_no,))
    return bool(run_no)


def _writable(connection: sqlite3.Connection, run_id: str, attempt: int) -> int:
    """The number under which `attempt` writes. Raises Fenced for an older one, StoreError for one not opened yet."""
    row = connection.execute("SELECT run_no, attempt FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise Fenced(f"run {run_id} is unknown: it was deleted or never planned")
    if attempt < row[1]:
        raise Fenced(f"run {run_id}: attempt {attempt} is older than attempt {row[1]}")
    if attempt > row[1]:
        raise StoreError(f"run {run_id}: attempt {attempt} is not open yet (now {row[1]})")
    return int(row[0])


def put_segment(
    connection: sqlite3.Connection,
    run_id: str,
    attempt: int,
    meta: SegmentMeta,
    columns: bytes,
    closed: Sequence[tuple[StreamKey, StepEntry]],
) -> None:
    """Writes a segment and its part of the index; nothing where the segment is there. Raises Fenced, Refused."""
    run_no = _writable(connection, run_id, attempt)
    added = connection.execute(
        "INSERT OR IGNORE INTO segments (run_no, rank, number, scheme, level, records, first_step, last_step, crc32, bytes, "
        "columns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(run_no, meta.rank, meta.number, meta.scheme, meta.level, meta.record_count),
            *(meta.first_step, meta.last_step, meta.crc32, meta.bytes, columns),
        ),
    ).rowcount
    if not added:
        return
    for key, group in groupby(sorted(closed, key=lambda item: item[0]), key=lambda item: item[0]):
        _put_entries(connection, (run_no, key.rank, int(key.stage), int(key.phase)), [entry for _, entry in group])


def _put_entries(
    connection: sqlite3.Connection, stream: tuple[int, int, int, int], entries: Sequence[StepEntry]
) -> None:
    where = "run_no = ? AND rank = ? AND stage = ? AND phase = ?"
    row = connection.execute(f"SELECT gapless FROM streams WHERE {where}", stream).fetchone()
    gapless = row[0] if row else 0
    check_gap(max(entry.ordinal for entry in entries), gapless)
    connection.executemany(
        "INSERT OR IGNORE INTO entries (run_no, rank, stage, phase, ordinal, step, count, digests) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (*stream, entry.ordinal, entry.step, entry.count, entry.digest + entry.sum + entry.chain)
            for entry in entries
        ],
    )
    # Ordinals from `gapless` on, in order, as long as none is missing: usually exactly those just written.
    ordinals = connection.execute(
        f"SELECT ordinal FROM entries WHERE {where} AND ordinal >= ? ORDER BY ordinal", (*stream, gapless)
    )
    for (ordinal,) in ordinals:
        if ordinal != gapless:
            break
        gapless += 1
    connection.execute(
        "INSERT OR REPLACE INTO streams (run_no, rank, stage, phase, gapless) VALUES (?, ?, ?, ?, ?)",
        (*stream, gapless),
    )


def put_seal(connection: sqlite3.Connection, run_id: str, attempt: int, rank: int, document: str) -> None:
    """Writes the seal of a rank; the first one stands. Raises Fenced."""
    run_no = _writable(connection, run_id, attempt)
    connection.execute(
        "INSERT OR IGNORE INTO seals (run_no, rank, document) VALUES (?, ?, ?)", (run_no, rank, document)
    )


def sweep(connection: sqlite3.Connection) -> bool:
    """Deletes one slice of the rows of a number that counts no more; False where nothing is left to do."""
    row = connection.execute("SELECT run_no FROM garbage LIMIT 1").fetchone()
    if row is None:
        return False
    sql = "DELETE FROM segments WHERE rowid IN (SELECT rowid FROM segments WHERE run_no = ? LIMIT ?)"
    if connection.execute(sql, (row[0], SWEEP_SEGMENTS)).rowcount:
        return True
    sql = (
        "DELETE FROM entries WHERE (run_no, rank, stage, phase, ordinal) IN "
        "(SELECT run_no, rank, stage, phase, ordinal FROM entries WHERE run_no = ? LIMIT ?)"
    )
    if connection.execute(sql, (row[0], SWEEP_ENTRIES)).rowcount:
        return True
    for table in ("streams", "seals", "garbage"):
        connection.execute(f"DELETE FROM {table} WHERE run_no = ?", row)
    return True
