"""cache-state: a run used a file that an earlier run left in its folder."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, describe, finding
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.attribution.signatures.config_drift import settings_that_fit
from detctl_coordinator.attribution.signatures.opened_files import opened_by_one, shortened
from detctl_coordinator.domain.fingerprint import Stage

OWN_FOLDERS = ("{cwd}/", "{out}/")
FIX = "Delete the files that earlier runs leave, or start each run in its own folder. `detctl audit` and `detctl record --copy` do this."


def cache_state(evidence: Evidence) -> list[CauseFinding]:
    """Matches if only one run opens a file of the folder that it trains in, and no setting, listing or worker count explains it."""
    return _found(evidence) if evidence.stage is Stage.FILES else []


def leftover_files(evidence: Evidence) -> list[CauseFinding]:
    """Matches a later root after such a file was opened, since weights or a step number may come from it. Tried near the end."""
    return _found(evidence) if evidence.differs(Stage.FILES) else []


def _found(evidence: Evidence) -> list[CauseFinding]:
    if evidence.between_twins or settings_that_fit(evidence) or evidence.family("workers"):
        return []
    found = opened_by_one(evidence)
    if not found or evidence.differs(Stage.LISTING) or not all(name.startswith(OWN_FOLDERS) for name in found):
        return []
    lines = shortened(list(found.values()), "files that only one run opens")
    lines.append("An earlier run may have left them, as a cache, an index or a checkpoint.")
    return [finding(evidence, "cache-state", [*lines, describe(evidence)], FIX)]
