"""worker-count: num_workers changes what is drawn where."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.RNG, Stage.FILES, Stage.ORDER, Stage.SAMPLE, Stage.BATCH)


def worker_count(evidence: Evidence) -> list[CauseFinding]:
    """Root on the data's way while the number of workers differs."""
    told = evidence.family("workers")
    if evidence.within or not told or evidence.stage not in STAGES:
        return []
    lines = [s.words + (" (varied on purpose)" if s.deliberate else "") for s in told]
    lines.append(describe(evidence))
    if evidence.observed_equal(Stage.ORDER):
        lines.append("the sampler's order is equal: the random numbers of the transforms are drawn in other processes")
    fix = "use the same number of workers, or draw in __getitem__ from a generator seeded by (seed, epoch, index)"
    return [finding(evidence, "worker-count", lines, fix)]
