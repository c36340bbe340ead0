"""Separates random generators that differ and are used from those that only differ.

A generator without a seed has a different state in every process. That is irrelevant if the program never draws from it, so that its
state stays the same from the first step to the last. Such a site is left out of the search for roots, since it would seem to explain
everything. States inside DataLoader workers (sites `worker0/torch`) only affect samples and batches, so they are a separate part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detctl_coordinator.comparison.alignment import SiteDifference, align
from detctl_coordinator.comparison.first_divergence import Side, StreamDifference
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.shifted import SEED

WORKER, START = "worker", "/start"


@dataclass(frozen=True)
class UsedGenerators:
    """Sites of one part whose states differ from `step` on, and from which the program draws."""

    step: int
    sites: tuple[SiteDifference, ...]


def is_worker(site: str) -> bool:
    return site.startswith(WORKER)


def used_generators(
    left: Side, right: Side, difference: StreamDifference
) -> tuple[UsedGenerators | None, UsedGenerators | None]:
    """Returns those of (the main process, the workers); None: no generator of the part differs and is used.

    Diverged states never become equal again, so bisection finds the first step of each part: O(log n) steps are read.
    """
    steps = _steps(left, right, difference.step)
    sites = _differences(left, right, difference.step)
    unused = _unused(left, steps, sites) & _unused(right, steps, sites)
    unused -= noted_generators(left.reader) | noted_generators(right.reader)
    return (
        _first(left, right, steps, unused, workers=False),
        _first(left, right, steps, unused, workers=True),
    )


def noted_generators(reader: RunReader) -> set[str]:
    """Returns the generators that a note reports as used without a seed. They matter even if no later step draws from them."""
    notes = (note for seal in reader.seals().values() for note in seal.detail.get("notes") or ())
    return {str(n.get("generator")) for n in notes if isinstance(n, dict) and n.get("kind") == "unseeded-rng"}


def _steps(left: Side, right: Side, first: int) -> Sequence[int]:
    """Returns the steps from the first differing one to the last that both have."""
    shared = min(left.entries, right.entries)
    last = (
        min(left.reader.entry(left.key, shared - 1).step, right.reader.entry(right.key, shared - 1).step)
        if shared
        else 0
    )
    return range(first, max(first, last) + 1)


def _unused(side: Side, steps: Sequence[int], sites: Sequence[SiteDifference]) -> set[str]:
    """Returns the sites whose state is the same at the first and the last step, so that nothing drew from them."""
    names = {d.site for d in sites if not d.site.startswith(SEED)}
    if len(steps) < 2:
        return set()
    first, last = ({r.site: r.digest for r in side.reader.records(side.key, step)} for step in (steps[0], steps[-1]))
    unused = {name for name in names if name in first and first[name] == last.get(name)}
    starts = {name for name in names if name.endswith(START) and name.removesuffix(START) not in names - unused}
    return unused | starts


def _first(left: Side, right: Side, steps: Sequence[int], unused: set[str], *, workers: bool) -> UsedGenerators | None:
    def at(step: int) -> tuple[SiteDifference, ...]:
        found = _differences(left, right, step)
        return tuple(d for d in found if is_worker(d.site) is workers and d.site not in unused)

    if not steps:
        return None
    if now := at(steps[0]):
        return UsedGenerators(steps[0], now)
    if not at(steps[-1]):
        return None
    low, high = 0, len(steps) - 1  # agrees at low, differs at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(steps[middle]) else (middle, high)
    return UsedGenerators(steps[high], at(steps[high]))


def _differences(left: Side, right: Side, step: int) -> list[SiteDifference]:
    return align(left.reader.records(left.key, step), right.reader.records(right.key, step))
