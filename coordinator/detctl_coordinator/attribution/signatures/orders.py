"""concurrency, stateful-data: causes of another order or content that depend on no seed and no file system."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.hash_seed import hash_seed_is_fixed
from detctl_coordinator.attribution.evidence.pair_evidence import DATA, Evidence
from detctl_coordinator.attribution.evidence.reordering import reordering_of
from detctl_coordinator.attribution.evidence.system_entropy import entropy_reads
from detctl_coordinator.domain.fingerprint import Stage

STAGES = (Stage.FILES, *DATA, Stage.INIT, Stage.FORWARD)


def concurrency(evidence: Evidence) -> list[CauseFinding]:
    """Matches if twins see other data while random states agree, and a note reports that the program takes results as they finish.
    Without that note, it matches the same samples in another order if they moved only a little or if the hash seed is fixed."""
    noted = evidence.notes("unordered")
    if not evidence.between_twins or evidence.stage not in (
        STAGES if noted else (Stage.FILES, Stage.SAMPLE, Stage.BATCH)
    ):
        return []
    if evidence.differs(Stage.RNG) or evidence.notes("unseeded-rng"):
        return []
    change = reordering_of(evidence)
    inside = evidence.root.kind == "permutation" and hash_seed_is_fixed(evidence)
    overtaken = change is not None and change.nearby
    if not inside and not overtaken and (not noted or entropy_reads(evidence)):
        return []
    lines = [
        *[n.description for n in noted],
        describe(evidence),
        change.description if change is not None else "",
        f"They moved by {change.distance} positions (median), as results do that overtake each other."
        if change is not None and overtaken
        else "",
        "Twins differ while all recorded random states agree: threads or processes race for the order.",
    ]
    at = next((n.where for n in noted if n.where), "")
    fix = f"Take results in the order in which they were submitted{f' ({at})' if at else ''}."
    return [finding(evidence, "concurrency", lines, fix, clues=[n.clue for n in noted], fix_at=at)]


def stateful_data(evidence: Evidence) -> list[CauseFinding]:
    """Matches if a note reports a dataset that keeps state between samples, and no generator is unseeded."""
    notes = evidence.notes("stateful-data")
    if not notes or evidence.stage not in (Stage.SAMPLE, Stage.BATCH) or evidence.notes("unseeded-rng"):
        return []
    lines = [*[n.description for n in notes], describe(evidence)]
    fix = "Make __getitem__ depend only on its index."
    return [finding(evidence, "stateful-data", lines, fix, clues=[n.clue for n in notes])]
