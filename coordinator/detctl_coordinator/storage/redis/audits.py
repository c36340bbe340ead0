"""Stores audits and deletes runs in Redis. Documents change by compare-and-set, with their indexes in the same hash slot."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

from detctl_proto.outside_json import JsonError, parse

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.storage import documents
from detctl_coordinator.storage.redis import keys as redis_keys
from detctl_coordinator.storage.redis import runs, scripts
from detctl_coordinator.storage.redis.link import RedisLink
from detctl_coordinator.storage.refusals import conflict
from detctl_coordinator.storage.retention import is_active, without_runs
from detctl_coordinator.storage.store import ConflictError, DocumentError, NamedRows, Rows, StoreError

PAGE = 500  # ids per round trip when a list is filtered
INFO_BYTES_MAX = 64 * 1024
DELETE_TRIES_MAX = 16  # for an audit that others change at the same time

Info = tuple[str, str, str]  # audit id, machine, recipe


def put(link: RedisLink, audit: Audit, removed: Sequence[str] = ()) -> Audit:
    """Creates or replaces an audit by compare-and-set on its version. Raises ConflictError."""
    stored = replace(audit, version=audit.version + 1)
    values: list[str | int | float] = [
        audit.version,
        stored.version,
        uuid.uuid4().hex,
        int(is_active(stored)),
        stored.created_unix_s,
        stored.audit_id,
        documents.dump(documents.audit_to_json(stored)),
        len(stored.runs),
    ]
    for run_id, record in stored.runs.items():
        info = json.dumps([stored.audit_id, record.spec.arm.machine, record.spec.recipe])
        values += [run_id, record.created_unix_s, info]
    names = [redis_keys.ACTIVE, redis_keys.BY_TIME, redis_keys.RUNS, redis_keys.RUNS_BY_TIME, redis_keys.DELETED]
    ended = {run_id: run.closed_through for run_id, run in stored.runs.items() if run.closed_through}
    names += [redis_keys.state_key(run_id) for run_id in ended]
    values += [*ended.values(), *removed]
    answer = link.script(scripts.PUT_AUDIT, [redis_keys.audit_key(audit.audit_id), *names], values)
    if answer != b"ok":
        raise conflict(audit)
    link.confirm()
    return stored


def close_ended(link: RedisLink) -> None:
    """Closes the attempts that have ended, for a store of schema 1, which did not keep them."""
    audit_ids = [item.decode() for item in link.call("ZRANGE", redis_keys.BY_TIME, 0, -1)]
    for start in range(0, len(audit_ids), PAGE):
        for audit in get_all(link, audit_ids[start : start + PAGE]).values():
            ended = [run for run in audit.runs.values() if run.closed_through]
            link.calls([("HSET", redis_keys.state_key(r.spec.run_id), "closed", r.closed_through) for r in ended])


def get_all(link: RedisLink, audit_ids: Sequence[str]) -> NamedRows[Audit]:
    """Returns the audits that exist, in the order of the ids."""
    texts = link.calls([("HGET", redis_keys.audit_key(audit_id), "document") for audit_id in audit_ids])
    rows = [(name, text) for name, text in zip(audit_ids, texts, strict=True) if text is not None]
    return documents.readable("audit", rows, documents.load_audit)


def get(link: RedisLink, audit_id: str) -> Audit | None:
    text = link.call("HGET", redis_keys.audit_key(audit_id), "document")
    return None if text is None else documents.load_audit(text)


def active(link: RedisLink) -> Rows[Audit]:
    found = get_all(link, [item.decode() for item in link.call("SMEMBERS", redis_keys.ACTIVE)])
    audits = sorted(filter(is_active, found.values()), key=lambda audit: (audit.created_unix_s, audit.audit_id))
    return Rows(audits, found.unreadable)


def newest(link: RedisLink, limit: int) -> Rows[Audit]:
    if limit <= 0:
        return Rows()
    found = get_all(link, [item.decode() for item in link.call("ZREVRANGE", redis_keys.BY_TIME, 0, limit - 1)])
    return Rows(found.values(), found.unreadable)


def run(link: RedisLink, run_id: str) -> RunRecord | None:
    info = _info(link.call("HGET", redis_keys.RUNS, run_id))
    audit = get(link, info[0]) if info else None
    return None if audit is None else audit.runs.get(run_id)


def matching_runs(link: RedisLink, audit_id: str, machine: str, recipe: str, limit: int) -> Rows[RunRecord]:
    filters = (audit_id, machine, recipe)
    chosen: list[tuple[str, str]] = []
    for run_id, info in _newest_runs(link):
        if len(chosen) >= limit:
            break
        if all(not expected or expected == value for expected, value in zip(filters, info, strict=True)):
            chosen.append((run_id, info[0]))
    return documents.readable_runs(chosen, get_all(link, list(dict.fromkeys(name for _, name in chosen))))


def delete_runs(link: RedisLink, run_ids: Sequence[str]) -> list[str]:
    """Removes runs that are over from their finished audits, then unlinks their data."""
    by_audit: dict[str, set[str]] = {}
    for run_id, info in zip(run_ids, _infos(link, run_ids), strict=True):
        if info is not None:
            by_audit.setdefault(info[0], set()).add(run_id)
    gone: set[str] = set()
    for audit_id, chosen in by_audit.items():
        gone.update(_remove_runs(link, audit_id, chosen))
    sweep(link)
    return [run_id for run_id in dict.fromkeys(run_ids) if run_id in gone]


def delete_older_than(link: RedisLink, unix_s: float, keep_audits: bool = False) -> list[str]:
    before = f"({unix_s!r}"
    old = [item.decode() for item in link.call("ZRANGEBYSCORE", redis_keys.RUNS_BY_TIME, "-inf", before)]
    deleted = delete_runs(link, old)
    found = [] if keep_audits else link.call("ZRANGEBYSCORE", redis_keys.BY_TIME, "-inf", before)
    ids = [item.decode() for item in found]
    for audit in get_all(link, ids).values():
        if not audit.runs and not is_active(audit):
            keys = [redis_keys.audit_key(audit.audit_id), redis_keys.ACTIVE, redis_keys.BY_TIME]
            link.script(scripts.DELETE_AUDIT, keys, [audit.version, audit.audit_id])
    link.confirm()
    return deleted


def sweep(link: RedisLink) -> None:
    """Unlinks the data of removed runs, also those of an interrupted deletion."""
    for item in link.call("SMEMBERS", redis_keys.DELETED):
        runs.delete(link, item.decode())
        link.call("SREM", redis_keys.DELETED, item)


def _remove_runs(link: RedisLink, audit_id: str, run_ids: set[str]) -> list[str]:
    for _ in range(DELETE_TRIES_MAX):
        try:
            audit = get(link, audit_id)
        except DocumentError:
            return []  # its runs may not be over
        if audit is None:
            return []
        rest, removed = without_runs(audit, run_ids)
        if not removed:
            return []
        try:
            put(link, rest, removed)
        except ConflictError:
            continue
        return removed
    raise StoreError(f"audit {audit_id} changes too fast to delete runs from it: try again")


def _infos(link: RedisLink, run_ids: Sequence[str]) -> list[Info | None]:
    return [_info(text) for text in link.call("HMGET", redis_keys.RUNS, *run_ids)] if run_ids else []


def _info(text: bytes | None) -> Info | None:
    """Returns the index entry of a run; None if the run is unknown, or the entry is damaged."""
    try:
        audit_id, machine, recipe = map(str, parse(text or b"", "the index of runs", INFO_BYTES_MAX, repair=True))
    except (JsonError, TypeError, ValueError):
        return None
    return audit_id, machine, recipe


def _newest_runs(link: RedisLink) -> Iterator[tuple[str, Info]]:
    """Yields (run id, its index entry), newest first, one page per round trip."""
    start, seen = 0, set[str]()  # a run that is added meanwhile moves others into the next page
    while ids := [item.decode() for item in link.call("ZREVRANGE", redis_keys.RUNS_BY_TIME, start, start + PAGE - 1)]:
        for run_id, info in zip(ids, _infos(link, ids), strict=True):
            if info is not None and run_id not in seen:
                yield run_id, info
        seen.update(ids)
        start += PAGE
