"""Matches the ranks of two runs.

A launcher may number the ranks in another order. Then they are matched by their first entries, and a note reports the permutation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage, StreamKey

# Ranks are identified by the data that they get. Everything else is equal in data-parallel training.
IDENTIFYING_STAGES = (Stage.ORDER, Stage.SAMPLE, Stage.BATCH, Stage.LOSS)


@dataclass(frozen=True)
class RankMatch:
    """`pairs`: left rank -> right rank. `moved`: the pairs with different numbers."""

    pairs: Mapping[int, int]

    @property
    def moved(self) -> dict[int, int]:
        return {a: b for a, b in sorted(self.pairs.items()) if a != b}


def ranks_of(reader: RunReader) -> list[int]:
    """Returns the ranks that recorded anything, ascending."""
    return sorted({key.rank for key in reader.streams()})


def match_ranks(left: RunReader, right: RunReader) -> RankMatch | None:
    """Returns ranks matched by their first entries if these identify them, else by number. None: the world sizes differ."""
    ours, theirs = ranks_of(left), ranks_of(right)
    if len(ours) != len(theirs):
        return None
    if len(ours) > 1:
        a = {rank: _first_seen(left, rank) for rank in ours}
        b = {rank: _first_seen(right, rank) for rank in theirs}
        distinct = len(set(a.values())) == len(ours)
        if distinct and Counter(a.values()) == Counter(b.values()):
            by_value = {value: rank for rank, value in b.items()}
            return RankMatch({rank: by_value[value] for rank, value in a.items()})
    return RankMatch(dict(zip(ours, theirs, strict=True)))


def _first_seen(reader: RunReader, rank: int) -> tuple[bytes, ...]:
    keys: list[StreamKey] = sorted(
        key for key, count in reader.streams().items() if key.rank == rank and key.stage in IDENTIFYING_STAGES and count
    )
    return tuple(reader.entry(key, 0).chain for key in keys)
