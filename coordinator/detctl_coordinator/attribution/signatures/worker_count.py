"""worker-count: the number of DataLoader workers differs, which changes where random numbers are drawn."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.RNG, Stage.FILES, Stage.ORDER, Stage.SAMPLE, Stage.BATCH)


def worker_count(evidence: Evidence) -> list[CauseFinding]:
    """Matches a root in the stages of the data if the number of workers differs."""
    if evidence.between_twins or evidence.stage not in STAGES:
        return []
    suspects = evidence.family("workers")
    lines = [s.description + (" (varied by the audit)" if s.deliberate else "") for s in suspects]
    if not suspects:
        seen = evidence.workers_seen
        if seen is None or seen[0] == seen[1]:
            return []
        # The setting may have any name or place: an argument without a flag, a variable, a settings file.
        lines = [f"The number of active DataLoader workers differs: {seen[0]} vs {seen[1]}."]
        lines += [s.description for s in settings_that_fit(evidence)[:3]]
    lines.append(describe(evidence))
    if evidence.observed_equal(Stage.ORDER):
        lines.append("The sampler's order is equal, but transforms draw their random numbers in other processes.")
    fix = "Use the same number of workers, or draw in __getitem__ from a generator seeded with (seed, epoch, index)."
    return [finding(evidence, "worker-count", lines, fix, fix_settings=[s.key for s in suspects])]
