"""Whether what differs are the same samples in another order, seen over several steps and not only inside one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from detctl_coordinator.attribution.evidence import Evidence
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage, StreamKey

# Steps whose rows are read; samples that moved further than this are not recognised.
STEPS_MAX = 32
# So many different rows must be found elsewhere: two or three could be labels that repeat.
MOVED_MIN = 4
COUNTED = ("int", "py:int", "uint", "py:bool", "bool", "long")


def moved_samples(evidence: Evidence) -> str:
    """One line where rows (or opened files) of one run are found at other places of the other; empty where not."""
    lead = evidence.root.lead
    if lead is None or evidence.stage not in (Stage.FILES, Stage.SAMPLE, Stage.BATCH):
        return ""
    key = StreamKey(evidence.root.rank, evidence.stage, evidence.root.node.phase)
    start = evidence.root.step
    end = start + STEPS_MAX if evidence.pair.limit is None else min(start + STEPS_MAX, evidence.pair.limit)
    sites = list(dict.fromkeys(d.site for d in evidence.root.sites))
    for site in sites:
        ours, theirs = (
            _rows(reader, key, site, range(start, end)) for reader in (evidence.pair.left, evidence.pair.right)
        )
        shared = (Counter(ours) & Counter(theirs)).keys()
        moved = [row for row in shared if ours.index(row) != theirs.index(row)]
        if len(moved) >= MOVED_MIN:
            what = "files" if evidence.stage is Stage.FILES else "samples"
            return f"the same {what} in another order: {len(moved)} of {len(set(ours))} are found at other places"
    return ""


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
