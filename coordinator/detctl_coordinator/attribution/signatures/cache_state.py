"""cache-state: a run found in its folder what an earlier one had left."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import CauseFinding, Evidence, describe, finding
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.attribution.signatures.opened_files import opened_by_one, shortened
from detctl_coordinator.domain.fingerprint import Stage

OWN_FOLDERS = ("{cwd}/", "{out}/")
FIX = "delete what earlier runs leave, or start each run in a folder of its own (detctl audit does, detctl record with --copy too)"


def cache_state(evidence: Evidence) -> list[CauseFinding]:
    """One run alone opens a file of the folder that it trains in, where no option, listing or number of workers explains it."""
    return _found(evidence) if evidence.stage is Stage.FILES else []


def what_it_found(evidence: Evidence) -> list[CauseFinding]:
    """What no narrower signature explains, after such a file was opened: weights or a step number may come from it."""
    return _found(evidence) if evidence.differs(Stage.FILES) else []


def _found(evidence: Evidence) -> list[CauseFinding]:
    if evidence.within or settings_that_fit(evidence) or evidence.family("workers"):
        return []
    found = opened_by_one(evidence)
    if not found or evidence.differs(Stage.LISTING) or not all(name.startswith(OWN_FOLDERS) for name in found):
        return []
    lines = shortened(list(found.values()), "files that one of the two opens")
    lines.append("it may be what an earlier run has left: a cache, an index, a checkpoint")
    return [finding(evidence, "cache-state", [*lines, describe(evidence)], FIX)]
