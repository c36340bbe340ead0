"""Whether what differs are the same samples in another order, seen over several steps and not only inside one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from detctl_coordinator.attribution.evidence.evidence import Evidence
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage, StreamKey

# Steps whose rows are read; samples that moved further than this are not recognised.
STEPS_MAX = 32
# So many different rows must be found elsewhere: two or three could be labels that repeat.
MOVED_MIN = 4
# A median way below one in so many of all is the mark of overtaking, not of shuffling.
NEARBY = 8
COUNTED = ("int", "py:int", "uint", "py:bool", "bool", "long")


@dataclass(frozen=True)
class Moved:
    """Things found at other places of the other run: how many, of how many, and the median way that they moved, in samples."""

    what: str
    count: int
    of: int
    distance: int

    @property
    def words(self) -> str:
        return f"the same {self.what} in another order: {self.count} of {self.of} are found at other places"

    @property
    def nearby(self) -> bool:
        """As when things overtake each other. A shuffle moves them by a third of the whole way."""
        return self.distance <= max(2, self.of // NEARBY)


def moved(evidence: Evidence) -> Moved | None:
    """How rows (or opened files) of one run are found at other places of the other; None where they are not."""
    lead = evidence.root.lead
    if lead is None or evidence.stage not in (Stage.FILES, Stage.SAMPLE, Stage.BATCH):
        return None
    key = StreamKey(evidence.root.rank, evidence.stage, evidence.root.node.phase)
    start = evidence.root.step
    end = start + STEPS_MAX if evidence.pair.limit is None else min(start + STEPS_MAX, evidence.pair.limit)
    sites = list(dict.fromkeys(d.site for d in evidence.root.sites))
    for site in sites:
        ours, theirs = (
            _rows(reader, key, site, range(start, end)) for reader in (evidence.pair.left, evidence.pair.right)
        )
        if 2 * len(set(ours)) < len(ours):
            continue  # labels repeat: where one of eight is met first says nothing of who moved
        shared = (Counter(ours) & Counter(theirs)).keys()
        ways = sorted(
            abs(ours.index(row) - theirs.index(row)) for row in shared if ours.index(row) != theirs.index(row)
        )
        if len(ways) >= MOVED_MIN:
            what = "files" if evidence.stage is Stage.FILES else "samples"
            return Moved(what, len(ways), len(set(ours)), ways[len(ways) // 2])
    return None


def _rows(reader: RunReader, key: StreamKey, site: str, steps: Iterable[int]) -> list[bytes]:
    if key not in reader.streams():
        return []
    records = (record for step in steps for record in reader.records(key, step) if record.site == site)
    return [row for record in records for row in (record.rows or (record.digest,))]


def only_labels(evidence: Evidence) -> bool:
    """Integers alone differ, and nothing else of the samples does: a map from names to numbers came out otherwise."""
    if evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or not evidence.root.sites:
        return False
    key = StreamKey(evidence.root.rank, evidence.stage, evidence.root.node.phase)
    if key not in evidence.pair.left.streams():
        return False
    differing = {(d.site, d.occurrence) for d in evidence.root.sites}
    rest = [r for r in evidence.pair.left.records(key, evidence.root.step) if (r.site, r.occurrence) not in differing]
    dtypes = [d.left.dtype.removeprefix("torch.") for d in evidence.root.sites if d.left is not None]
    return bool(rest) and bool(dtypes) and all(dtype.startswith(COUNTED) for dtype in dtypes)
