"""Runs on different numbers of ranks: comparable up to the batch, by the rows that all ranks saw in a step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.window import entries_below
from detctl_coordinator.domain.fingerprint import Phase, Stage

# Rows are read record by record, so only the first steps are united.
UNITED_STEPS_MAX = 64


@dataclass(frozen=True)
class UnitedBatches:
    """`first_step`: the first step whose united rows differ, None: none of `steps` compared. `rows`: rows compared."""

    first_step: int | None
    steps: int
    rows: int


def united_rows(reader: RunReader, step: int) -> Counter[tuple[str, bytes]]:
    """Row digests of the training batches of a step over ranks, loaders' batches and micro-batches, by key in the batch."""
    rows: Counter[tuple[str, bytes]] = Counter()
    for key in reader.streams():
        if key.stage is Stage.BATCH and key.phase is Phase.TRAIN:
            for record in reader.records(key, step):
                rows.update((record.site, row) for row in record.rows or ())
    return rows


def compare_united(left: RunReader, right: RunReader, limit: int | None) -> UnitedBatches:
    """Batches of both runs by step, as multisets of rows."""
    steps = min(_steps(left, limit), _steps(right, limit), UNITED_STEPS_MAX)
    compared = 0
    for step in range(steps):
        a, b = united_rows(left, step), united_rows(right, step)
        compared += a.total()
        if a != b:
            return UnitedBatches(step, step + 1, compared)
    return UnitedBatches(None, steps, compared)


def _steps(reader: RunReader, limit: int | None) -> int:
    ends = [
        reader.entry(key, n - 1).step + 1
        for key in reader.streams()
        if key.stage is Stage.BATCH and key.phase is Phase.TRAIN and (n := entries_below(reader, key, limit))
    ]
    return min(ends, default=0)
