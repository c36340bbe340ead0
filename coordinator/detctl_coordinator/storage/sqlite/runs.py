"""Stores the data of runs in SQL: fencing by attempt, segments, the index by step, seals. Functions run in the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import groupby

from detctl_coordinator.domain.fingerprint import SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.storage.limits import check_gap
from detctl_coordinator.storage.refusals import (
    attempt_not_open,
    older_attempt,
    other_entry,
    other_seal,
    other_segment,
    rank_is_sealed,
    run_is_over,
    unknown_run,
)

SWEEP_SEGMENTS = 64  # rows per slice, so that a sweep does not delay writers for long
SWEEP_ENTRIES = 8192


def current(connection: sqlite3.Connection, run_id: str) -> tuple[int, int]:
    """Returns (run_no, attempt) of a run; (0, 0) if it is unknown or no attempt was opened."""
    row = connection.execute("SELECT run_no, attempt FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def open_attempt(connection: sqlite3.Connection, run_id: str, attempt: int) -> bool:
    """Lets `attempt` write and refuses older ones. Returns True if rows of an older one must be swept. Raises FencedError."""
    row = connection.execute("SELECT run_no, attempt FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise unknown_run(run_id)
    run_no, opened = row
    if attempt < opened or attempt < 1:
        raise older_attempt(run_id, attempt, opened)
    if attempt == opened:
        return False
    connection.execute("UPDATE numbers SET last_run_no = last_run_no + 1")
    sql = "UPDATE runs SET attempt = ?, run_no = (SELECT last_run_no FROM numbers) WHERE run_id = ?"
    connection.execute(sql, (attempt, run_id))
    if run_no:
        connection.execute("INSERT OR IGNORE INTO garbage (run_no) VALUES (?)", (run_no,))
    return bool(run_no)


def _writable(connection: sqlite3.Connection, run_id: str, attempt: int) -> tuple[int, bool]:
    """Returns (the run_no under which `attempt` writes, whether it accepts new data).

    Raises FencedError for an older attempt, StoreError for one that is not open yet.
    """
    row = connection.execute("SELECT run_no, attempt, closed FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise unknown_run(run_id)
    if attempt < row[1]:
        raise older_attempt(run_id, attempt, row[1])
    if attempt > row[1]:
        raise attempt_not_open(run_id, attempt)
    return int(row[0]), attempt > row[2]


def put_segment(
    connection: sqlite3.Connection,
    run_id: str,
    attempt: int,
    meta: SegmentMeta,
    columns: bytes,
    closed: Sequence[tuple[StreamKey, StepEntry]],
) -> None:
    """Writes a segment and its index entries, unless they are stored already. Raises FencedError, RejectedDataError."""
    run_no, takes_new = _writable(connection, run_id, attempt)
    content = (
        *(meta.scheme, meta.level, meta.record_count, meta.first_step, meta.last_step, meta.crc32, meta.bytes),
        columns,
    )
    sql = (
        "SELECT scheme, level, records, first_step, last_step, crc32, bytes, columns FROM segments "
        "WHERE run_no = ? AND rank = ? AND number = ?"
    )
    there = connection.execute(sql, (run_no, meta.rank, meta.number)).fetchone()
    if there is None:
        if not takes_new:
            raise run_is_over(run_id, attempt)
        if connection.execute("SELECT 1 FROM seals WHERE run_no = ? AND rank = ?", (run_no, meta.rank)).fetchone():
            raise rank_is_sealed(meta.rank, meta.number)
        connection.execute(
            "INSERT INTO segments (run_no, rank, number, scheme, level, records, first_step, last_step, crc32, bytes, columns) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (run_no, meta.rank, meta.number, *content),
        )
    elif there != content:
        raise other_segment(meta.rank, meta.number)
    for key, group in groupby(sorted(closed, key=lambda item: item[0]), key=lambda item: item[0]):
        entries = {entry.ordinal: entry for _, entry in group}
        _put_entries(connection, run_no, key, entries, may_add=there is None)


def _put_entries(
    connection: sqlite3.Connection, run_no: int, key: StreamKey, entries: Mapping[int, StepEntry], *, may_add: bool
) -> None:
    stream = (run_no, key.rank, int(key.stage), int(key.phase))
    where = "run_no = ? AND rank = ? AND stage = ? AND phase = ?"
    row = connection.execute(f"SELECT gapless FROM streams WHERE {where}", stream).fetchone()
    gapless = row[0] if row else 0
    check_gap(max(entries), gapless)
    rows = {
        entry.ordinal: (entry.ordinal, entry.step, entry.count, entry.digest + entry.sum + entry.chain)
        for entry in entries.values()
    }
    sql = f"SELECT ordinal, step, count, digests FROM entries WHERE {where} AND ordinal BETWEEN ? AND ?"
    for there in connection.execute(sql, (*stream, min(rows), max(rows))):
        if there[0] in rows and rows.pop(there[0]) != there:
            raise other_entry(key, there[0])
    if rows and not may_add:
        raise other_entry(key, min(rows))
    connection.executemany(
        "INSERT INTO entries (run_no, rank, stage, phase, ordinal, step, count, digests) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(*stream, *row) for row in rows.values()],
    )
    # Count on from `gapless` until an ordinal is missing; usually these are exactly the entries that were just written.
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
    """Writes the seal of a rank, unless it is stored already. Raises FencedError, ContradictionError."""
    run_no, takes_new = _writable(connection, run_id, attempt)
    sql = "SELECT document FROM seals WHERE run_no = ? AND rank = ?"
    there = connection.execute(sql, (run_no, rank)).fetchone()
    if there is not None:
        if there[0] != document:
            raise other_seal(rank)
        return
    if not takes_new:
        raise run_is_over(run_id, attempt)
    connection.execute("INSERT INTO seals (run_no, rank, document) VALUES (?, ?, ?)", (run_no, rank, document))


def sweep(connection: sqlite3.Connection) -> bool:
    """Deletes one slice of the rows of an old run_no. Returns False if nothing is left to do."""
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
