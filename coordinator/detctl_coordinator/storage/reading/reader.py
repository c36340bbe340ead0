"""Reads a stored run for a comparison: entries of the index by position, and records of a step from the segments that hold them."""

from __future__ import annotations

import itertools
import threading
import weakref
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from detctl_coordinator.comparison.reader import DamagedError
from detctl_coordinator.domain.fingerprint import Fingerprint, Seal, SegmentMeta, StepEntry, StreamKey
from detctl_coordinator.domain.run import RunRecord
from detctl_coordinator.storage.reading.columns import Columns, read_columns
from detctl_coordinator.storage.reading.verify import check_blob, verify
from detctl_coordinator.storage.refusals import stream_name
from detctl_coordinator.storage.store import MissingError, Store, StoreError

__all__ = ["StoredRun", "verify"]

CACHE_BYTES_MAX = 96 << 20  # of inflated segments of all runs


class StoredRun:
    """A RunReader over a store. It shows the data that had arrived at the first access; a new one shows more. Thread-safe.

    Any method may raise DamagedError (the stored data is inconsistent) or StoreError (the store does not answer).
    """

    def __init__(self, store: Store, run_id: str, cache_bytes_max: int = 0) -> None:
        """cache_bytes_max: the size of a separate cache; 0 uses the shared one. Raises StoreError for an unknown run."""
        run = store.run(run_id)
        if run is None:
            raise StoreError(f"no run has the id {run_id}; see detctl runs")
        self._store = store
        self._run = run
        self._run_id = run_id
        self._lock = threading.RLock()
        self._streams: dict[StreamKey, int] | None = None
        self._seals: dict[int, Seal] | None = None
        self._metas: dict[int, _Metas] = {}
        self._cache = _Cache(cache_bytes_max) if cache_bytes_max else _SHARED
        self._mine = next(_NUMBERS)
        weakref.finalize(self, self._cache.drop, self._mine)

    @property
    def run(self) -> RunRecord:
        return self._run

    @property
    def scheme(self) -> str:
        return self._one_of("scheme")

    @property
    def level(self) -> str:
        return self._one_of("level")

    def manifest(self) -> Mapping[str, Any]:
        return self._run.manifest

    def seals(self) -> Mapping[int, Seal]:
        with self._lock:
            if self._seals is None:
                self._seals = self._store.seals(self._run_id)
            return self._seals

    def streams(self) -> Mapping[StreamKey, int]:
        with self._lock:
            if self._streams is None:
                self._streams = self._store.streams(self._run_id)
            return self._streams

    def entry(self, key: StreamKey, ordinal: int) -> StepEntry:
        try:
            return self._store.entry(self._run_id, key, ordinal)
        except MissingError as error:
            raise DamagedError(str(error)) from error

    def entries(self, key: StreamKey, start: int, stop: int) -> list[StepEntry]:
        stop = min(stop, self.streams().get(key, 0))
        if stop <= start:
            return []
        found = self._store.entries(self._run_id, key, start, stop)
        if len(found) != stop - start:
            raise DamagedError(
                f"run {self._run_id}: entries of {stream_name(key)} are missing between {start} and {stop}"
            )
        return found

    def records(self, key: StreamKey, step: int) -> list[Fingerprint]:
        """Returns the records of a step in program order; [] for a step without an entry (it did not happen, or is not closed yet)."""
        entry = self.entry_of_step(key, step)
        if entry is None:
            return []
        found: list[Fingerprint] = []
        for meta in self._metas_of(key.rank).holding(step):
            columns = self._columns(key.rank, meta)
            found += [columns.fingerprint(at) for at in columns.where(key.stage, key.phase, step)]
        if len(found) != entry.count:
            raise DamagedError(
                f"run {self._run_id}: step {step} of {stream_name(key)} has {len(found)} records, but its index has {entry.count}"
            )
        return found

    def entry_of_step(self, key: StreamKey, step: int) -> StepEntry | None:
        """Returns the entry of a step, by bisection; None if the stream has none."""
        count = self.streams().get(key, 0)
        ordinal = bisect_left(range(count), step, key=lambda at: self.entry(key, at).step)
        if ordinal == count:
            return None
        entry = self.entry(key, ordinal)
        return entry if entry.step == step else None

    def ranks(self) -> list[int]:
        """Returns the ranks that sent an entry or a seal."""
        return sorted({key.rank for key in self.streams()} | set(self.seals()))

    def _one_of(self, name: str) -> str:
        values = {getattr(meta, name) for rank in self.ranks() for meta in self._metas_of(rank).metas}
        if len(values) > 1:
            raise DamagedError(
                f"run {self._run_id}: its segments have more than one {name}: {', '.join(sorted(values))}"
            )
        return str(values.pop()) if values else ""

    def _metas_of(self, rank: int) -> _Metas:
        with self._lock:
            if rank not in self._metas:
                self._metas[rank] = _Metas(self._store.segment_metas(self._run_id, rank))
            return self._metas[rank]

    def _columns(self, rank: int, meta: SegmentMeta) -> Columns:
        with self._lock:
            columns = self._cache.get((self._mine, rank, meta.number))
            if columns is None:
                columns = self._read(rank, meta)
                self._cache.put((self._mine, rank, meta.number), columns)
            return columns

    def _read(self, rank: int, meta: SegmentMeta) -> Columns:
        try:
            data = self._store.segment_columns(self._run_id, rank, [meta.number])[meta.number]
            check_blob(meta, data)
            return read_columns(data, meta.record_count)
        except (MissingError, DamagedError) as error:
            raise DamagedError(f"run {self._run_id}, rank {rank}, segment {meta.number}: {error}") from error


class _Metas:
    """The segments of a rank by number, with their steps as arrays."""

    def __init__(self, metas: list[SegmentMeta]) -> None:
        self.metas = metas
        self._first = np.fromiter((meta.first_step for meta in metas), dtype=np.int64, count=len(metas))
        self._last = np.fromiter((meta.last_step for meta in metas), dtype=np.int64, count=len(metas))

    def holding(self, step: int) -> list[SegmentMeta]:
        """Returns the segments whose steps enclose `step`. Steps of a rank need not ascend strictly, so bisection is not possible."""
        return [self.metas[at] for at in np.nonzero((self._first <= step) & (step <= self._last))[0]]


class _Cache:
    """An LRU cache of segments, limited by inflated bytes. Keys are (reader, rank, number). Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[int, int, int], Columns] = OrderedDict()
        # Reentrant, because a finalizer may run while this thread holds the lock.
        self._lock = threading.RLock()

    def get(self, key: tuple[int, int, int]) -> Columns | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[int, int, int], columns: Columns) -> None:
        with self._lock:
            self._kept[key] = columns
            self._bytes += columns.memory_bytes
            while self._bytes > self._bytes_max and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.memory_bytes

    def drop(self, reader: int) -> None:
        """Removes the segments of a reader that was garbage collected."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == reader]:
                self._bytes -= self._kept.pop(key).memory_bytes


_SHARED = _Cache(CACHE_BYTES_MAX)
_NUMBERS = itertools.count()
