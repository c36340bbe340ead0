"""Detects whether two runs see the same samples in another order, over several steps and not only inside one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage, StreamKey

# Number of steps whose rows are read. Samples that moved further are not recognised.
STEPS_MAX = 32
# At least this many rows must be found at other positions, since two or three could be labels that repeat.
MOVED_MIN = 4
# A median distance below 1/NEARBY of all rows indicates results that overtake each other; a shuffle moves them further.
NEARBY = 8
# Runs that share fewer than 1/SHARED of their rows have other samples. A few may be equal by chance.
SHARED = 10
INTEGERS = ("int", "py:int", "uint", "py:bool", "bool", "long")


@dataclass(frozen=True)
class Reordering:
    """`count` of `of` samples (or files, by `what`) are at other positions in the other run; `distance`: median shift."""

    what: str
    count: int
    of: int
    distance: int

    @property
    def description(self) -> str:
        return f"The same {self.what} come in another order: {self.count} of {self.of} are at other positions."

    @property
    def nearby(self) -> bool:
        """Whether the shift is small, as for results that overtake each other. A shuffle shifts by a third of all positions."""
        return self.distance <= max(2, self.of // NEARBY)


def reordering_of(evidence: Evidence) -> Reordering | None:
    """Returns how rows (or opened files) of one run are reordered in the other; None: they are not."""
    lead = evidence.root.lead
    if lead is None or evidence.stage not in (Stage.FILES, Stage.SAMPLE, Stage.BATCH):
        return None
    sites = list(dict.fromkeys(d.site for d in evidence.root.sites))
    for site in sites:
        _, ours, theirs = _rows_of_both(evidence, site)
        if 2 * len(set(ours)) < len(ours):
            continue  # labels repeat, so the first position of a label does not show which row moved
        shared = (Counter(ours) & Counter(theirs)).keys()
        shifts = sorted(
            abs(ours.index(row) - theirs.index(row)) for row in shared if ours.index(row) != theirs.index(row)
        )
        if len(shifts) >= MOVED_MIN:
            what = "files" if evidence.stage is Stage.FILES else "samples"
            return Reordering(what, len(shifts), len(set(ours)), shifts[len(shifts) // 2])
    return None


def other_rows(evidence: Evidence) -> bool:
    """Returns whether what differs are samples of which the runs share hardly any, so that no order explains them."""
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or evidence.root.lead is None:
        return False
    for site in dict.fromkeys(d.site for d in evidence.root.sites):
        known, ours, theirs = _rows_of_both(evidence, site)
        if not known or len({*ours} & {*theirs}) * SHARED > len({*ours}):
            return False
    return True


def _rows_of_both(evidence: Evidence, site: str) -> tuple[bool, list[bytes], list[bytes]]:
    """Returns (whether single rows were recorded, the rows of each run from the root's step on)."""
    key = StreamKey(evidence.root.rank, evidence.stage, evidence.root.node.phase)
    start = evidence.root.step
    end = start + STEPS_MAX if evidence.pair.limit is None else min(start + STEPS_MAX, evidence.pair.limit)
    readers = evidence.pair.left, evidence.pair.right
    ours, theirs = (_rows(reader, key, site, range(start, end)) for reader in readers)
    first = next((d.left for d in evidence.root.sites if d.site == site), None)
    return first is not None and bool(first.rows) and bool(ours) and bool(theirs), ours, theirs


def _rows(reader: RunReader, key: StreamKey, site: str, steps: Iterable[int]) -> list[bytes]:
    if key not in reader.streams():
        return []
    records = (record for step in steps for record in reader.records(key, step) if record.site == site)
    return [row for record in records for row in (record.rows or (record.digest,))]


def only_labels_differ(evidence: Evidence) -> bool:
    """Returns whether only integers of the samples differ, as when a mapping from class names to numbers differs."""
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or not evidence.root.sites:
        return False
    key = StreamKey(evidence.root.rank, evidence.stage, evidence.root.node.phase)
    if key not in evidence.pair.left.streams():
        return False
    differing = {(d.site, d.occurrence) for d in evidence.root.sites}
    rest = [r for r in evidence.pair.left.records(key, evidence.root.step) if (r.site, r.occurrence) not in differing]
    dtypes = [d.left.dtype.removeprefix("torch.") for d in evidence.root.sites if d.left is not None]
    return bool(rest) and bool(dtypes) and all(dtype.startswith(INTEGERS) for dtype in dtypes)
