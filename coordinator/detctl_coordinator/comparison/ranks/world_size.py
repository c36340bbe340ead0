"""Compares runs with different numbers of ranks by the data of all their ranks together.

A batch is the set of rows of all ranks, in any order. Initial weights and updates are merged: the digest n6 is a sum over the logical
index, so the digests of shards add up to that of the whole tensor (agent: detctl_probe/observe/model/shards.py), and a tensor that every
rank has counts once.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.window import entries_below
from detctl_coordinator.comparison.updates.before_step import is_before_step
from detctl_coordinator.domain.fingerprint import Phase, Stage

# Every fingerprint of rows and weights is read, so only the first steps are compared.
UNITED_STEPS_MAX = 64
MERGED = (Stage.INIT, Stage.UPDATE)
_LANES = struct.Struct("<QQ")
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class UnitedBatches:
    """`first_step`: the first step whose rows differ, None: none. `steps`, `rows`: numbers of compared steps and rows."""

    first_step: int | None
    steps: int
    rows: int


@dataclass(frozen=True)
class MergedStage:
    """Merged initial weights or updates. `first_step`: the first step whose tensors differ, at `site`. `why`: why they could not be
    merged; empty: they were."""

    stage: Stage
    first_step: int | None = None
    site: str = ""
    steps: int = 0
    why: str = ""


class UnmergeableError(Exception):
    """Fingerprints cannot be merged over ranks. The text is the reason."""


def united_rows(reader: RunReader, step: int) -> Counter[tuple[str, bytes]]:
    """Returns the row digests of all training batches of a step, over ranks, loader batches and micro-batches, with their sites."""
    rows: Counter[tuple[str, bytes]] = Counter()
    for key in reader.streams():
        if key.stage is Stage.BATCH and key.phase is Phase.TRAIN:
            for record in reader.records(key, step):
                rows.update((record.site, row) for row in record.rows or ())
    return rows


def compare_united(left: RunReader, right: RunReader, limit: int | None) -> UnitedBatches:
    """Returns the comparison of the batches of both runs by step, as multisets of rows."""
    steps = min(_steps(left, limit), _steps(right, limit), UNITED_STEPS_MAX)
    compared = 0
    for step in range(steps):
        a, b = united_rows(left, step), united_rows(right, step)
        compared += a.total()
        if a != b:
            return UnitedBatches(step, step + 1, compared)
    return UnitedBatches(None, steps, compared)


def compare_merged(left: RunReader, right: RunReader, limit: int | None, stage: Stage) -> MergedStage:
    """Returns the comparison of the tensors of both runs by step and name, merged over all ranks."""
    steps = sorted(_steps_of(left, stage, limit) & _steps_of(right, stage, limit))[:UNITED_STEPS_MAX]
    for count, step in enumerate(steps, start=1):
        try:
            a, b = merged_tensors(left, stage, step), merged_tensors(right, stage, step)
        except UnmergeableError as why:
            return MergedStage(stage, why=str(why))
        if a != b:
            names = [*a, *(name for name in b if name not in a)]
            (site, _), *_ = [name for name in names if a.get(name) != b.get(name)]
            return MergedStage(stage, step, site, count)
    return MergedStage(stage, steps=len(steps), why="" if steps else f"{stage.word} was not recorded in both runs")


def merged_tensors(
    reader: RunReader, stage: Stage, step: int
) -> dict[tuple[str, int], tuple[str, tuple[int, ...], bytes]]:
    """Returns (site, occurrence) -> (dtype, shape, digest), merged over all ranks. Raises UnmergeableError."""
    merged: dict[tuple[str, int], tuple[str, tuple[int, ...], bytes]] = {}
    replicas: dict[tuple[str, int], bytes] = {}
    for key in sorted(reader.streams()):
        if key.stage is not stage or key.phase is not Phase.TRAIN:
            continue
        for record in reader.records(key, step):
            if is_before_step(record.site):
                continue  # a learning rate may depend on the number of ranks; what comes of it shows in the parameters
            name = record.site, record.occurrence
            shard = (record.evidence or {}).get("shard")
            if shard is None:
                if replicas.setdefault(name, record.digest) != record.digest:
                    raise UnmergeableError(f"{record.site} on rank {key.rank} differs from the ranks before it")
                merged[name] = record.dtype, record.shape, record.digest
            elif "counts" not in shard:
                raise UnmergeableError(f"{record.site} is sharded as {shard.get('placements')}, which cannot be merged")
            elif shard["counts"]:
                digest = merged[name][2] if name in merged else bytes(16)
                merged[name] = record.dtype, record.shape, _added(digest, record.digest)
    return merged


def _added(a: bytes, b: bytes) -> bytes:
    return _LANES.pack(*((x + y) & _MASK for x, y in zip(_LANES.unpack(a), _LANES.unpack(b), strict=True)))


def _steps_of(reader: RunReader, stage: Stage, limit: int | None) -> set[int]:
    found: set[int] = set()
    for key in reader.streams():
        if key.stage is stage and key.phase is Phase.TRAIN and (n := entries_below(reader, key, limit)):
            found.update(entry.step for entry in reader.entries(key, 0, min(n, UNITED_STEPS_MAX)))
    return found


def _steps(reader: RunReader, limit: int | None) -> int:
    ends = [
        reader.entry(key, n - 1).step + 1
        for key in reader.streams()
        if key.stage is Stage.BATCH and key.phase is Phase.TRAIN and (n := entries_below(reader, key, limit))
    ]
    return min(ends, default=0)
