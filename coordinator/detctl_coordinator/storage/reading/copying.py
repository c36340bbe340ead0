"""Copies one store into another of any kind: for backup, restore, and the move from SQLite to Redis.

A coordinator may use the source meanwhile. Each audit is read before its data, so runs that were sealed by then are complete in the
copy. After a restore, later runs end as lost, never as equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.fingerprint import StepEntry, StreamKey
from detctl_coordinator.domain.run import RunState
from detctl_coordinator.storage.reading.verify import PAGE, verify
from detctl_coordinator.storage.store import MissingError, Store, StoreError

AUDITS_MAX = 1_000_000
LOG_PAGE = 1000


@dataclass
class Copied:
    """Counts of what was copied. problems: one line for each unreadable row, and for each sealed run that is not complete in the copy."""

    audits: int = 0
    runs: int = 0
    segments: int = 0
    bytes: int = 0
    machines: int = 0
    tokens: int = 0
    log_entries: int = 0
    problems: tuple[str, ...] = ()


def copy_store(source: Store, target: Store, progress: Callable[[str], None] = lambda text: None) -> Copied:
    """Copies everything and verifies the copy. progress: receives one line per audit. Raises StoreError, also for a target with data."""
    existing = (target.audits(1), target.tokens(), target.machines())
    if target.log(limit=1) or any(rows or rows.unreadable for rows in existing):
        raise StoreError("the store to copy to is not empty: name a new one with --to")
    done = Copied()
    # Copy the log first, because storing an audit appends its entries, whose keys then exist already.
    for key, entry in _log(source):
        target.append_log(key, entry)
        done.log_entries += 1
    tokens, machines, newest = source.tokens(), source.machines(), source.audits(AUDITS_MAX)
    done.problems += tuple(row.text for rows in (tokens, machines, newest) for row in rows.unreadable)
    for token_id, document in tokens.items():
        target.put_token(token_id, document)
        done.tokens += 1
    for name, document in machines.items():
        target.put_machine(name, document)
        done.machines += 1
    audits = list(reversed(newest))  # oldest first
    for number, audit in enumerate(audits, start=1):
        progress(f"audit {number} of {len(audits)}: {audit.audit_id}, {len(audit.runs)} runs")
        begun = target.put_audit(_as_running(audit))
        copied = [run_id for run_id in audit.runs if _copy_run(source, target, run_id, done)]
        target.put_audit(replace(audit, version=begun.version))
        for run_id, run in audit.runs.items():
            if run_id in copied and run.state is RunState.SEALED and (wrong := verify(target, run_id, blobs=True)):
                done.problems += (f"run {run_id}: {wrong[0]}",)
        done.audits += 1
    return done


def _as_running(audit: Audit) -> Audit:
    """Returns the audit as new and with running runs, because runs that are over accept no data."""
    runs = {run_id: replace(run, state=RunState.RUNNING, outcome=None) for run_id, run in audit.runs.items()}
    return replace(audit, version=0, runs=runs)


def _log(source: Store) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields (key, entry), oldest first."""
    rows: list[tuple[str, dict[str, object]]] = []
    before = 0
    while page := source.log(before, LOG_PAGE):
        for number, found in page:
            entry = dict(found)
            rows.append((str(entry.pop("key", f"copied:{number}")), entry))
        before = page[-1][0]
        if before == 1:
            break
    return reversed(rows)


def _copy_run(source: Store, target: Store, run_id: str, done: Copied) -> bool:
    """Copies the data of a run's latest attempt. Returns False if no attempt was opened, or the run was deleted."""
    attempt = source.attempt(run_id)
    if not attempt:
        return False
    target.open_attempt(run_id, attempt)
    streams = source.streams(run_id)
    for rank in sorted({key.rank for key in streams}):
        mine = {key: count for key, count in streams.items() if key.rank == rank}
        entries = _entries(source, run_id, mine)
        metas = source.segment_metas(run_id, rank)
        # The store does not keep which segment closed which entry, and nothing needs it, so each segment gets an equal share.
        share = -(-sum(mine.values()) // max(len(metas), 1))
        for meta in metas:
            try:
                columns = source.segment_columns(run_id, rank, [meta.number])[meta.number]
            except MissingError:
                return False  # deleted meanwhile
            target.put_segment(run_id, attempt, meta, columns, list(itertools.islice(entries, share)))
            done.segments += 1
            done.bytes += len(columns)
    for seal in source.seals(run_id).values():
        target.put_seal(run_id, attempt, seal)
    done.runs += 1
    return True


def _entries(source: Store, run_id: str, streams: Mapping[StreamKey, int]) -> Iterator[tuple[StreamKey, StepEntry]]:
    """Yields the entries of each stream in order, so that none is far ahead of its stream."""
    for key, count in streams.items():
        for start in range(0, count, PAGE):
            for entry in source.entries(run_id, key, start, min(start + PAGE, count)):
                yield key, entry
