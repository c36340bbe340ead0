"""Random states that differ and matter, told from those that merely differ.

A generator that nobody seeded has another state in every process, and says nothing where nobody draws from it: its state
stays what it was at the first step. Such a site is left out of the search for roots, or it would explain everything. States inside
DataLoader workers (sites `worker0/torch`) feed samples and batches alone, so they are a part of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detctl_coordinator.comparison.alignment import SiteDifference, align
from detctl_coordinator.comparison.first_divergence import Side, StreamDifference
from detctl_coordinator.comparison.reader import RunReader

WORKER, SEED, START = "worker", "seed/", "/start"


@dataclass(frozen=True)
class Live:
    """Sites of one part that differ and are drawn from, from `step` on."""

    step: int
    sites: tuple[SiteDifference, ...]


def is_worker(site: str) -> bool:
    return site.startswith(WORKER)


def live_generators(left: Side, right: Side, difference: StreamDifference) -> tuple[Live | None, Live | None]:
    """(of the main process, of the workers); None where no site of the part differs and is drawn from.

    States part for good, so the first step of each part is found by bisection over the steps: O(log n) steps are read.
    """
    steps = _steps(left, right, difference.step)
    sites = _differences(left, right, difference.step)
    still = _still(left, steps, sites) & _still(right, steps, sites)
    still -= noted_generators(left.reader) | noted_generators(right.reader)
    return (
        _first(left, right, steps, still, workers=False),
        _first(left, right, steps, still, workers=True),
    )


def noted_generators(reader: RunReader) -> set[str]:
    """Generators that a note says are used without a seed: they matter even if nobody draws later."""
    notes = (note for seal in reader.seals().values() for note in seal.detail.get("notes") or ())
    return {str(n.get("generator")) for n in notes if isinstance(n, dict) and n.get("kind") == "unseeded-rng"}


def _steps(left: Side, right: Side, first: int) -> Sequence[int]:
    """From the first differing step to the last that both have."""
    shared = min(left.entries, right.entries)
    last = (
        min(left.reader.entry(left.key, shared - 1).step, right.reader.entry(right.key, shared - 1).step)
        if shared
        else 0
    )
    return range(first, max(first, last) + 1)


def _still(side: Side, steps: Sequence[int], sites: Sequence[SiteDifference]) -> set[str]:
    """Sites whose state at the last step is that of the first: nobody drew in between."""
    names = {d.site for d in sites if not d.site.startswith(SEED)}
    if len(steps) < 2:
        return set()
    first, last = ({r.site: r.digest for r in side.reader.records(side.key, step)} for step in (steps[0], steps[-1]))
    still = {name for name in names if name in first and first[name] == last.get(name)}
    starts = {name for name in names if name.endswith(START) and name.removesuffix(START) not in names - still}
    return still | starts


def _first(left: Side, right: Side, steps: Sequence[int], still: set[str], *, workers: bool) -> Live | None:
    def at(step: int) -> tuple[SiteDifference, ...]:
        found = _differences(left, right, step)
        return tuple(d for d in found if is_worker(d.site) is workers and d.site not in still)

    if not steps:
        return None
    if now := at(steps[0]):
        return Live(steps[0], now)
    if not at(steps[-1]):
        return None
    low, high = 0, len(steps) - 1  # agrees at low, differs at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(steps[middle]) else (middle, high)
    return Live(steps[high], at(steps[high]))


def _differences(left: Side, right: Side, step: int) -> list[SiteDifference]:
    return align(left.reader.records(left.key, step), right.reader.records(right.key, step))
