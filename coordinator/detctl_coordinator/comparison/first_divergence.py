"""Finds the first difference of two streams by bisection over their chains, and how long it lasts.

A chain value covers every entry before it, so equal chains at an ordinal mean equal entries up to it, and O(log n) entries are read.
From there on step sums decide. A sum does not depend on program order, and is equal again if only one step differed. If the probes
left out steps to keep a budget (schedule.py), chains are compared up to the step where the plans of both runs differ. After it, the
sums of the steps that both runs recorded are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.schedule import ALWAYS, Schedule, schedule_of, since
from detctl_coordinator.comparison.steps.shifted import ShiftedRun
from detctl_coordinator.comparison.steps.window import entries_below, training_steps
from detctl_coordinator.domain.fingerprint import StepEntry, StreamKey

# Entries read after the first difference to decide between transient and persistent. After them, only the tail is read.
LASTING_ENTRIES_MAX = 4096
TAIL_ENTRIES = 64
PAGE_ENTRIES = 256

Lasting = Literal["transient", "persistent"]


@dataclass(frozen=True)
class StreamDifference:
    """The first difference of two streams. `equal_from`: the step from which they agree again to the end, None: never.
    `since`: the earliest step at which it may have begun, if steps before `step` were not recorded."""

    left: StreamKey
    right: StreamKey
    step: int
    structural: bool  # counts differ, or a side has no fingerprint of the step
    differing_steps: int  # among the examined steps
    examined_steps: int
    equal_from: int | None
    since: int

    @property
    def lasting(self) -> Lasting:
        return "persistent" if self.equal_from is None else "transient"


@dataclass(frozen=True)
class Side:
    """One stream of one run. `entries`: the number of entries in steps below `limit`."""

    reader: RunReader
    key: StreamKey
    entries: int
    limit: int | None = None
    schedule: Schedule = ALWAYS
    chained: bool = True  # whether its chains cover what the entries before them hold

    @classmethod
    def of(cls, reader: RunReader, key: StreamKey, limit: int | None) -> Side:
        chained = not isinstance(reader, ShiftedRun)
        return cls(reader, key, entries_below(reader, key, limit), limit, schedule_of(reader, key), chained)

    def below(self, step: int) -> Side:
        """Returns the same stream, cut off at a step."""
        return replace(self, entries=min(self.entries, entries_below(self.reader, self.key, step)))

    def ends_before(self) -> int | None:
        """Returns the end of the run's training (last step + 1), at most the limit; None: no training was recorded."""
        extent = training_steps(self.reader)
        return extent and (extent[1] if self.limit is None else min(extent[1], self.limit))


def first_chain_difference(left: Side, right: Side) -> int | None:
    """Returns the smallest ordinal at which the chains differ, among the entries that both have; None: they agree."""
    low, high = 0, min(left.entries, right.entries)
    if high == 0 or _chain(left, high - 1) == _chain(right, high - 1):
        return None
    high -= 1  # chains differ at `high`, agree below `low`
    while low < high:
        middle = (low + high) // 2
        if _chain(left, middle) == _chain(right, middle):
            low = middle + 1
        else:
            high = middle
    return low


def _chain(side: Side, ordinal: int) -> bytes:
    return side.reader.entry(side.key, ordinal).chain


def compare_streams(left: Side, right: Side) -> StreamDifference | None:
    """Returns the first step at which the sums of two streams differ; None: they agree in every step."""
    if not (left.chained and right.chained):
        return _from_ordinal(left, right, 0)
    same_until = left.schedule.same_until(right.schedule)
    if same_until is None:
        start = first_chain_difference(left, right)
        if start is None:
            if left.entries == right.entries:
                return None
            start = min(left.entries, right.entries)
    else:
        sides = left.below(same_until), right.below(same_until)
        start = first_chain_difference(*sides)
        start = min(side.entries for side in sides) if start is None else start
    return _from_ordinal(left, right, start)


def _from_ordinal(left: Side, right: Side, start: int) -> StreamDifference | None:
    first: tuple[int, bool] | None = None
    differing = examined = 0
    equal_from: int | None = None
    one_sided_at: int | None = None  # the last differing step, if only one side has fingerprints of it
    for step, a, b in compared_steps(left, right, start):
        same = _same(a, b)
        if first is None:
            if same:
                continue  # the same fingerprints in another program order
            first = (step, a is None or b is None or a.count != b.count)
        examined += 1
        if same:
            equal_from = step if equal_from is None else equal_from
        else:
            differing += 1
            equal_from = None
            one_sided_at = step if a is None or b is None else None
        if examined >= LASTING_ENTRIES_MAX:
            if equal_from is not None and not _tails_agree(left, right):
                equal_from = None
            break
    if first is None:
        return None
    if equal_from is None and one_sided_at is not None and _both_continue(left, right, one_sided_at):
        equal_from = (
            one_sided_at + 1
        )  # both runs continue and neither has more of the stream, as after an extra evaluation
    earliest = since(left.schedule, right.schedule, first[0])
    return StreamDifference(left.key, right.key, first[0], first[1], differing, examined, equal_from, earliest)


def _both_continue(left: Side, right: Side, step: int) -> bool:
    ends = (left.ends_before(), right.ends_before())
    return all(end is not None and end > step + 1 for end in ends)


def _tails_agree(left: Side, right: Side) -> bool:
    tails = []
    for side in (left, right):
        start = max(0, side.entries - TAIL_ENTRIES)
        tails.append(side.reader.entries(side.key, start, side.entries))
    if left.schedule.same_until(right.schedule) is None:
        return [(e.step, e.count, e.sum) for e in tails[0]] == [(e.step, e.count, e.sum) for e in tails[1]]
    if not tails[0] or not tails[1]:
        return tails[0] == tails[1]
    ours, theirs = ({e.step: e for e in tail} for tail in tails)
    start = max(tail[0].step for tail in tails)
    for step in (step for step in ours.keys() | theirs.keys() if step >= start):
        a, b = ours.get(step), theirs.get(step)
        if left.schedule.took(step, a) and right.schedule.took(step, b) and not _same(a, b):
            return False
    return True


def _same(a: StepEntry | None, b: StepEntry | None) -> bool:
    return a is not None and b is not None and a.sum == b.sum and a.count == b.count


def compared_steps(left: Side, right: Side, start: int) -> Iterator[tuple[int, StepEntry | None, StepEntry | None]]:
    """Yields steps_of_both without the steps that a side left out to keep a budget."""
    for step, a, b in steps_of_both(left, right, start):
        if left.schedule.took(step, a) and right.schedule.took(step, b):
            yield step, a, b


def steps_of_both(left: Side, right: Side, start: int) -> Iterator[tuple[int, StepEntry | None, StepEntry | None]]:
    """Yields (step, left entry, right entry), from ordinal `start` on, below which both agree. Entries are read in pages."""
    ours, theirs = _pages(left, start), _pages(right, start)
    a, b = next(ours, None), next(theirs, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.step < b.step):
            assert a is not None
            yield a.step, a, None
            a = next(ours, None)
        elif a is None or b.step < a.step:
            yield b.step, None, b
            b = next(theirs, None)
        else:
            yield a.step, a, b
            a, b = next(ours, None), next(theirs, None)


def _pages(side: Side, start: int) -> Iterator[StepEntry]:
    size = 8  # grows, so that a single difference costs a small read
    while start < side.entries:
        stop = min(start + size, side.entries)
        yield from side.reader.entries(side.key, start, stop)
        start, size = stop, PAGE_ENTRIES
