"""data-content: data files or pretrained weights differ, are missing or extra."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.attribution.signatures.opened_files import opened_by_one, resized, shortened
from detctl_coordinator.domain.fingerprint import Stage

FIX = "Use the same data in both runs: compare the checksums of the files named here."


def data_content(evidence: Evidence) -> list[CauseFinding]:
    """Matches if names are missing or extra in a listing, if other files are opened, or if samples differ though names, order
    and random states agree."""
    if evidence.between_twins:
        return []
    stage, kind = evidence.stage, evidence.root.kind
    if stage is Stage.LISTING and kind != "permutation":
        return [finding(evidence, "data-content", [describe(evidence), *_listing_lines(evidence)], FIX)]
    if stage is Stage.FILES and kind != "permutation" and not evidence.family("workers"):
        if settings_that_fit(evidence):
            return []  # an option chooses what is opened
        alone = shortened(list(opened_by_one(evidence).values()), "files that only one run opens")
        return [finding(evidence, "data-content", [*alone, describe(evidence)], FIX)]
    if stage in (Stage.SAMPLE, Stage.BATCH) and kind == "content":
        return _samples(evidence)
    return []


def _listing_lines(evidence: Evidence) -> list[str]:
    return [f"{d.site}: {d.description}" for d in evidence.root.sites[1:]]


def _samples(evidence: Evidence) -> list[CauseFinding]:
    """Returns the cause if samples differ under equal names, and sizes of opened files differ or nothing else explains it."""
    sizes = resized(evidence)
    explained = evidence.family("library", "workers", "isa", "config", "code")
    quiet = evidence.twins_agree and not evidence.differs(Stage.RNG) and evidence.size != "ulp" and not explained
    if not sizes and not quiet:
        return []
    lines = [*sizes, describe(evidence)]
    if not sizes:
        lines.append("Order, random states and twins agree and no library differs, so the stored data must differ.")
    return [finding(evidence, "data-content", lines, FIX)]
