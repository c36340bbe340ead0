"""worker-count: num_workers changes what is drawn where."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.RNG, Stage.FILES, Stage.ORDER, Stage.SAMPLE, Stage.BATCH)


def worker_count(evidence: Evidence) -> list[CauseFinding]:
    """Root on the data's way while the number of workers differs."""
    if evidence.within or evidence.stage not in STAGES:
        return []
    told = evidence.family("workers")
    lines = [s.words + (" (varied on purpose)" if s.deliberate else "") for s in told]
    if not told:
        seen = evidence.workers_seen
        if seen is None or seen[0] == seen[1]:
            return []
        # Whatever it is called: a word without a flag, a variable, a file of settings.
        lines = [f"DataLoader workers at work: {seen[0]} against {seen[1]}"]
        lines += [s.words for s in settings_that_fit(evidence)[:3]]
    lines.append(describe(evidence))
    if evidence.observed_equal(Stage.ORDER):
        lines.append("the sampler's order is equal: the random numbers of the transforms are drawn in other processes")
    fix = "use the same number of workers, or draw in __getitem__ from a generator seeded by (seed, epoch, index)"
    return [finding(evidence, "worker-count", lines, fix, fix_settings=[s.key for s in told])]
