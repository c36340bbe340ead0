"""Stores audits and deletes runs in SQL. Each function runs inside a transaction of the caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.storage import documents
from detctl_coordinator.storage.refusals import conflict
from detctl_coordinator.storage.retention import is_active, without_runs
from detctl_coordinator.storage.store import DocumentError, NamedRows, Rows


def put(connection: sqlite3.Connection, audit: Audit) -> Audit:
    """Creates or replaces an audit by compare-and-set on its version. Raises ConflictError."""
    stored = replace(audit, version=audit.version + 1)
    document = documents.dump(documents.audit_to_json(stored))
    values = (stored.version, is_active(stored), stored.created_unix_s, document, stored.audit_id)
    if audit.version == 0:
        sql = "INSERT OR IGNORE INTO audits (version, active, created, document, audit_id) VALUES (?, ?, ?, ?, ?)"
        changed = connection.execute(sql, values).rowcount
    else:
        sql = "UPDATE audits SET version = ?, active = ?, created = ?, document = ? WHERE audit_id = ? AND version = ?"
        changed = connection.execute(sql, (*values, audit.version)).rowcount
    if not changed:
        raise conflict(audit)
    connection.executemany(
        "INSERT INTO runs (run_id, run_no, attempt, audit_id, machine, recipe, created, closed) VALUES (?, 0, 0, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id) DO UPDATE SET machine = excluded.machine, recipe = excluded.recipe, created = excluded.created, "
        "closed = excluded.closed",
        [
            (run_id, stored.audit_id, run.spec.arm.machine, run.spec.recipe, run.created_unix_s, run.closed_through)
            for run_id, run in stored.runs.items()
        ],
    )
    return stored


def get(connection: sqlite3.Connection, audit_id: str) -> Audit | None:
    row = connection.execute("SELECT document FROM audits WHERE audit_id = ?", (audit_id,)).fetchone()
    return None if row is None else documents.load_audit(row[0])


def active(connection: sqlite3.Connection) -> Rows[Audit]:
    return _rows(connection.execute("SELECT audit_id, document FROM audits WHERE active ORDER BY created, audit_id"))


def newest(connection: sqlite3.Connection, limit: int) -> Rows[Audit]:
    sql = "SELECT audit_id, document FROM audits ORDER BY created DESC, audit_id DESC LIMIT ?"
    return _rows(connection.execute(sql, (limit,)))


def run(connection: sqlite3.Connection, run_id: str) -> RunRecord | None:
    row = connection.execute("SELECT audit_id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    audit = get(connection, row[0]) if row else None
    return None if audit is None else audit.runs.get(run_id)


def runs(connection: sqlite3.Connection, audit_id: str, machine: str, recipe: str, limit: int) -> Rows[RunRecord]:
    columns = {"audit_id": audit_id, "machine": machine, "recipe": recipe}
    filters = {column: value for column, value in columns.items() if value}
    where = " AND ".join(f"{column} = ?" for column in filters) or "1"
    sql = f"SELECT run_id, audit_id FROM runs WHERE {where} ORDER BY created DESC, run_id DESC LIMIT ?"
    rows = connection.execute(sql, (*filters.values(), limit)).fetchall()
    names = list(dict.fromkeys(row[1] for row in rows))
    sql = "SELECT audit_id, document FROM audits WHERE audit_id = ?"
    texts = [row for name in names for row in connection.execute(sql, (name,))]
    return documents.readable_runs(rows, documents.readable("audit", texts, documents.load_audit))


def delete_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[str]:
    """Removes runs that are over from their finished audits; their rows become garbage."""
    by_audit: dict[str, set[str]] = {}
    for run_id in run_ids:
        row = connection.execute("SELECT audit_id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is not None:
            by_audit.setdefault(row[0], set()).add(run_id)
    gone: set[str] = set()
    for audit_id, chosen in by_audit.items():
        try:
            audit = get(connection, audit_id)
        except DocumentError:
            continue  # its runs may not be over
        if audit is None:
            continue
        rest, removed = without_runs(audit, chosen)
        if not removed:
            continue
        put(connection, rest)
        for run_id in removed:
            sql = "INSERT OR IGNORE INTO garbage SELECT run_no FROM runs WHERE run_id = ? AND run_no > 0"
            connection.execute(sql, (run_id,))
            connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
        gone.update(removed)
    return [run_id for run_id in dict.fromkeys(run_ids) if run_id in gone]


def delete_older_than(connection: sqlite3.Connection, unix_s: float, keep_audits: bool = False) -> list[str]:
    rows = connection.execute(
        "SELECT run_id FROM runs WHERE created < ? ORDER BY created, run_id", (unix_s,)
    ).fetchall()
    deleted = delete_runs(connection, [run_id for (run_id,) in rows])
    if keep_audits:
        return deleted
    sql = "SELECT audit_id, document FROM audits WHERE created < ? AND NOT active"
    for audit in _rows(connection.execute(sql, (unix_s,)).fetchall()):
        if not audit.runs:
            connection.execute("DELETE FROM audits WHERE audit_id = ?", (audit.audit_id,))
    return deleted


def _rows(rows: Iterable[tuple[str, str]]) -> Rows[Audit]:
    found: NamedRows[Audit] = documents.readable("audit", rows, documents.load_audit)
    return Rows(found.values(), found.unreadable)
