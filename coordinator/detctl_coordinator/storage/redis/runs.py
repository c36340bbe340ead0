"""Stores the data of runs in Redis: fencing by attempt, segments as blobs, one string per stream as its index, seals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from detctl_coordinator.domain.fingerprint import SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.storage.limits import ORDINAL_GAP_MAX
from detctl_coordinator.storage.redis import keys as redis_keys
from detctl_coordinator.storage.redis import scripts
from detctl_coordinator.storage.redis.keys import ENTRY_BYTES, data_key, state_key
from detctl_coordinator.storage.redis.link import RedisLink
from detctl_coordinator.storage.refusals import (
    attempt_not_open,
    missing_segment,
    older_attempt,
    other_entry,
    other_seal,
    other_segment,
    rank_is_sealed,
    run_is_over,
    unknown_run,
)
from detctl_coordinator.storage.store import RejectedDataError, StoreError

UNLINK_MAX = 500  # keys per command
BLOBS_MAX = 16  # segments per round trip, which are some MiB
DELETED_MARK_S = 86_400  # how long a late agent of a deleted run is refused


def attempt_of(link: RedisLink, run_id: str) -> int:
    """Returns the attempt that may write; 0 if there is none, or the run was deleted."""
    now = link.call("HGET", state_key(run_id), "attempt")
    return int(now) if now and now != b"deleted" else 0


def open_attempt(link: RedisLink, run_id: str, attempt: int) -> None:
    """Lets `attempt` write, refuses older attempts and unlinks their data. Raises FencedError."""
    if attempt < 1 or not link.call("HEXISTS", redis_keys.RUNS, run_id):
        raise unknown_run(run_id)
    answer = link.script(scripts.OPEN_ATTEMPT, [state_key(run_id)], [attempt])
    if answer != b"ok":
        raise _fenced(run_id, attempt, answer)
    link.confirm()
    sweep_stale(link, run_id)


def put_segment(
    link: RedisLink,
    run_id: str,
    attempt: int,
    meta: SegmentMeta,
    columns: bytes,
    closed: Sequence[tuple[StreamKey, StepEntry]],
) -> None:
    """Writes a segment and its index entries in one step, unless they are stored already. Raises FencedError, RejectedDataError."""
    keys = [state_key(run_id), data_key(run_id, attempt, "metas", meta.rank)]
    keys.append(data_key(run_id, attempt, "segment", meta.rank, meta.number))
    keys += [data_key(run_id, attempt, part) for part in ("streams", "ranks", "seals")]
    values: list[str | int | bytes] = [attempt, meta.rank, meta.number, redis_keys.pack_meta(meta), columns]
    values += [ENTRY_BYTES, ORDINAL_GAP_MAX]
    for key, group in groupby(sorted(closed, key=_by_stream_and_ordinal), key=lambda item: item[0]):
        keys.append(data_key(run_id, attempt, "index", redis_keys.stream_field(key)))
        chunks = _chunks([entry for _, entry in group])
        values += [redis_keys.stream_field(key), len(chunks)]
        for first, data in chunks:
            values += [first, data]
    answer = link.script(scripts.PUT_SEGMENT, keys, values)
    if answer[0] == b"segment":
        raise other_segment(meta.rank, meta.number)
    if answer[0] == b"sealed":
        raise rank_is_sealed(meta.rank, meta.number)
    if answer[0] == b"entry":
        raise other_entry(redis_keys.stream_of(answer[1].decode()), int(answer[2]))
    _check(link, answer, run_id, attempt)
    link.confirm()


def put_seal(link: RedisLink, run_id: str, attempt: int, rank: int, document: str) -> None:
    """Writes the seal of a rank, unless it is stored already. Raises FencedError, ContradictionError."""
    keys = [state_key(run_id), data_key(run_id, attempt, "seals"), data_key(run_id, attempt, "ranks")]
    answer = link.script(scripts.PUT_SEAL, keys, [attempt, rank, document])
    if answer[0] == b"seal":
        raise other_seal(rank)
    _check(link, answer, run_id, attempt)
    link.confirm()


def entries(link: RedisLink, run_id: str, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
    """Returns the entries start..stop-1 up to the first gap."""
    if stop <= start:
        return []
    name = data_key(run_id, attempt_of(link, run_id), "index", redis_keys.stream_field(key))
    return redis_keys.unpack_entries(link.call("GETRANGE", name, start * ENTRY_BYTES, stop * ENTRY_BYTES - 1), start)


def streams(link: RedisLink, run_id: str) -> dict[StreamKey, int]:
    pairs = _hash(link, data_key(run_id, attempt_of(link, run_id), "streams"))
    found = {redis_keys.stream_of(field.decode()): int(count) for field, count in pairs.items()}
    return {key: count for key, count in sorted(found.items()) if count}


def metas(link: RedisLink, run_id: str, rank: int) -> list[SegmentMeta]:
    pairs = _hash(link, data_key(run_id, attempt_of(link, run_id), "metas", rank))
    return sorted(
        (redis_keys.unpack_meta(rank, int(number), data) for number, data in pairs.items()),
        key=lambda meta: meta.number,
    )


def columns(link: RedisLink, run_id: str, rank: int, numbers: Iterable[int]) -> dict[int, bytes]:
    attempt, requested = attempt_of(link, run_id), list(numbers)
    found: dict[int, bytes] = {}
    for start in range(0, len(requested), BLOBS_MAX):
        page = requested[start : start + BLOBS_MAX]
        blobs = link.call("MGET", *(data_key(run_id, attempt, "segment", rank, number) for number in page))
        for number, blob in zip(page, blobs, strict=True):
            if blob is None:
                raise missing_segment(run_id, rank, number)
            found[number] = blob
    return found


def seals(link: RedisLink, run_id: str) -> dict[int, bytes]:
    pairs = _hash(link, data_key(run_id, attempt_of(link, run_id), "seals"))
    return dict(sorted((int(rank), text) for rank, text in pairs.items()))


def delete(link: RedisLink, run_id: str) -> None:
    """Refuses all writers and unlinks all data. It may be repeated after an interruption."""
    link.script(scripts.MARK_DELETED, [state_key(run_id)], [DELETED_MARK_S])
    sweep_stale(link, run_id)


def sweep_stale(link: RedisLink, run_id: str) -> None:
    """Unlinks the data of older attempts. The keys that list other keys go last, so that an interrupted sweep can continue."""
    for field in _hash(link, state_key(run_id)):
        if not field.startswith(b"stale:"):
            continue
        attempt = int(field.removeprefix(b"stale:"))
        ranks = [int(rank) for rank in link.call("SMEMBERS", data_key(run_id, attempt, "ranks"))]
        names = [
            data_key(run_id, attempt, "segment", rank, int(number))
            for rank in ranks
            for number in link.call("HKEYS", data_key(run_id, attempt, "metas", rank))
        ]
        listed = link.call("HKEYS", data_key(run_id, attempt, "streams"))
        names += [data_key(run_id, attempt, "index", stream.decode()) for stream in listed]
        names += [data_key(run_id, attempt, "metas", rank) for rank in ranks]
        names += [data_key(run_id, attempt, part) for part in ("seals", "streams", "ranks")]
        for start in range(0, len(names), UNLINK_MAX):
            link.call("UNLINK", *names[start : start + UNLINK_MAX])
        link.call("HDEL", state_key(run_id), field)


def _by_stream_and_ordinal(item: tuple[StreamKey, StepEntry]) -> tuple[StreamKey, int]:
    return item[0], item[1].ordinal


def _chunks(entries: Sequence[StepEntry]) -> list[tuple[int, bytes]]:
    """Runs of neighbouring ordinals, each as (first ordinal, packed entries)."""
    chunks: list[tuple[int, list[StepEntry]]] = []
    for entry in entries:
        if chunks and entry.ordinal == chunks[-1][0] + len(chunks[-1][1]):
            chunks[-1][1].append(entry)
        else:
            chunks.append((entry.ordinal, [entry]))
    return [(first, b"".join(map(redis_keys.pack_entry, group))) for first, group in chunks]


def _hash(link: RedisLink, name: str) -> dict[bytes, bytes]:
    return dict(link.call("HGETALL", name))


def _check(link: RedisLink, answer: Sequence[bytes], run_id: str, attempt: int) -> None:
    """Raises what a script's answer means."""
    if answer[0] == b"attempt":
        # The mark of a deletion fades; the list of runs does not.
        if answer[1] == b"none" and not link.call("HEXISTS", redis_keys.RUNS, run_id):
            raise _fenced(run_id, attempt, b"deleted")
        raise _fenced(run_id, attempt, answer[1])
    if answer[0] == b"over":
        raise run_is_over(run_id, attempt)
    if answer[0] == b"gap":
        raise RejectedDataError(
            f"entry {answer[1].decode()} is too far ahead: its stream has {answer[2].decode()} entries"
        )


def _fenced(run_id: str, attempt: int, now: bytes) -> StoreError:
    if now == b"deleted":
        return unknown_run(run_id)
    if now == b"none" or int(now) < attempt:
        return attempt_not_open(run_id, attempt)
    return older_attempt(run_id, attempt, int(now))
