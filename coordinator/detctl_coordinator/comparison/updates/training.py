"""Determines whether two runs trained alike: whether each update and each loss was recorded by both and agrees (docs/adr/0016)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from detctl_coordinator.comparison.first_divergence import Side
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.coverage import unwatched_stages
from detctl_coordinator.domain.fingerprint import Phase, Stage, StreamKey

# Together they show a training: its loss in each step, and the parameters and the optimizer state after it.
TRAINED = (Stage.LOSS, Stage.UPDATE)


def equal_updates(
    left: RunReader,
    right: RunReader,
    ranks: Mapping[int, int],
    limit: int | None,
    differing: Collection[Stage],
) -> int | None:
    """Returns the number of updates of the compared window, if every loss and every update of every rank was recorded by both runs and
    agrees; None: one differs or was not recorded in every step.

    `ranks`: rank of the left run -> rank of the right one. `differing`: the stages of the training that differ."""
    if any(stage in differing for stage in TRAINED) or _unmatched(left, ranks) or _unmatched(right, ranks.values()):
        return None
    if any(stage in TRAINED for reader in (left, right) for stage in unwatched_stages(reader)):
        return None
    counts: list[int] = []
    for rank, other in ranks.items():
        for stage in TRAINED:
            sides = (
                Side.of(left, StreamKey(rank, stage, Phase.TRAIN), limit),
                Side.of(right, StreamKey(other, stage, Phase.TRAIN), limit),
            )
            if not all(side.entries and side.schedule.whole for side in sides):
                return None
            if stage is Stage.UPDATE:
                counts.append(sides[0].entries)
    return min(counts, default=None)


def _unmatched(reader: RunReader, ranks: Iterable[int]) -> bool:
    return not {key.rank for key in reader.streams()} <= set(ranks)
