"""Notes about steps that were not compared, because a probe left them out to keep a budget (schedule.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detctl_coordinator.comparison.first_divergence import Side, StreamDifference
from detctl_coordinator.comparison.steps.schedule import steps_taken
from detctl_coordinator.comparison.steps.window import common_steps, training_steps


@dataclass(frozen=True)
class SampledStream:
    """A stream that a probe did not record in every step, and its first difference."""

    left: Side
    right: Side
    difference: StreamDifference | None


def notes_on(sampled: Sequence[SampledStream], limit: int | None) -> Iterator[str]:
    """Yields the number of compared steps by stage, and each difference that may have begun before it was recorded."""
    compared: dict[str, int] = {}
    total = 0
    for one in sampled:
        word, sides = one.left.key.stage.word, (one.left, one.right)
        extents = [extent for side in sides if (extent := training_steps(side.reader)) is not None]
        if extents and all(side.schedule.plans is not None for side in sides):
            start = min(start for start, _ in extents)
            stop = common_steps([limit, max(stop for _, stop in extents)]) or start
            taken = steps_taken(one.left.schedule, one.right.schedule, start, stop)
            compared[word] = min(compared.get(word, taken), taken)  # the minimum over ranks
            total = max(total, stop - start)
    if compared:
        counts = ", ".join(f"{word} in {count} steps" for word, count in compared.items())
        yield f"these stages were compared in some of {total} steps only, to keep the budget: {counts}"
    for one in sampled:
        found = one.difference
        if found is not None and found.since < found.step:
            word = one.left.key.stage.word
            yield (
                f"{word} differs at step {found.step}, possibly since step {found.since}: "
                "the steps in between were not recorded, to keep the budget"
            )
