"""What two runs did not compare because a probe kept a budget (schedule.py), as notes for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detctl_coordinator.comparison.first_divergence import Side, StreamDifference
from detctl_coordinator.comparison.steps.schedule import steps_taken
from detctl_coordinator.comparison.steps.window import common_steps, training_steps


@dataclass(frozen=True)
class Thinned:
    """A stream that a probe did not record in every step, and what was found in it."""

    left: Side
    right: Side
    difference: StreamDifference | None


def notes_on(thinned: Sequence[Thinned], limit: int | None) -> Iterator[str]:
    """How many steps were compared by stage, and which differences may have begun before they were seen."""
    compared: dict[str, int] = {}
    total = 0
    for one in thinned:
        word, sides = one.left.key.stage.word, (one.left, one.right)
        extents = [extent for side in sides if (extent := training_steps(side.reader)) is not None]
        if extents and all(side.schedule.plans is not None for side in sides):
            start = min(start for start, _ in extents)
            stop = common_steps([limit, max(stop for _, stop in extents)]) or start
            taken = steps_taken(one.left.schedule, one.right.schedule, start, stop)
            compared[word] = min(compared.get(word, taken), taken)  # of several ranks the least
            total = max(total, stop - start)
    if compared:
        counts = ", ".join(f"{word} in {count}" for word, count in compared.items())
        yield f"compared {counts} of {total} steps; the rest was left out to keep the budget"
    for one in thinned:
        found = one.difference
        if found is not None and found.since < found.step:
            word = one.left.key.stage.word
            yield (
                f"{word} differs at step {found.step}, perhaps since step {found.since}: "
                "the steps between were left out to keep the budget"
            )
