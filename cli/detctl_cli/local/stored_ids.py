"""Ids of local audits for shell completion, read directly from the store, since starting a coordinator takes a second."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from detctl_cli.local.places import STORE, find_data_folder

IDS_MAX = 50
_QUERIES = (
    "SELECT audit_id FROM audits WHERE audit_id LIKE ? ORDER BY created DESC LIMIT ?",
    "SELECT run_id FROM runs WHERE run_id LIKE ? ORDER BY created DESC LIMIT ?",
)


def audit_ids(beginning: str) -> list[str]:
    """Returns the newest local audits whose ids begin like this. It returns none if the store cannot be read."""
    return list(_ids(_QUERIES[0], beginning))


def run_ids(beginning: str) -> list[str]:
    """Returns the newest local runs whose ids begin like this."""
    return list(_ids(_QUERIES[1], beginning))


def _ids(query: str, beginning: str) -> Iterator[str]:
    found = find_data_folder(Path.cwd())
    if found is None or "%" in beginning or "_" in beginning:  # wildcards of LIKE
        return
    try:
        # Completion must not wait for a busy store, or change it.
        address = f"{(found[0] / STORE).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=0.2)) as store:
            yield from (str(row[0]) for row in store.execute(query, (f"{beginning}%", IDS_MAX)))
    except sqlite3.Error:
        return
