"""filesystem-order: a directory is listed in another order, and the training depends on it."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, finding
from detctl_coordinator.attribution.evidence.facts import location_of, value_at
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage


def filesystem_order(evidence: Evidence) -> list[CauseFinding]:
    """Matches a root in stage listing if each differing folder has the same names in another order."""
    root = evidence.root
    if evidence.stage is not Stage.LISTING or root.kind != "permutation":
        return []
    lines, clues = [], []
    for site in root.sites:
        count = len(site.left.rows or ()) if site.left is not None else 0
        call = str(site.evidence.get("call") or "")
        clues.append(Clue(kind="listing", call=call, **location_of(site.evidence)))
        where = clues[-1].where
        by = f", listed by {call} at {where}" if call and where else f", listed at {where}" if where else ""
        lines.append(f"{site.site} has the same {count or ''} names in another order".replace("  ", " ") + by)
    kinds = [_file_systems(side.manifest) for side in (evidence.left, evidence.right)]
    if kinds[0] != kinds[1] and all(kinds):
        lines.append(f"The data is on different file systems: {kinds[0]} and {kinds[1]}.")
    for suspect in evidence.family("listing"):
        lines.append(f"The audit varied the order. {suspect.description}")
    if evidence.between_twins:
        lines.append("The order differs between twins on one machine, since each run lists its own copy of the folder.")
    at = next((clue.where for clue in clues if clue.where), "")
    fix = f"Sort the names that the listing returns ({at})." if at else "Sort the names that the listing returns."
    return [finding(evidence, "filesystem-order", lines, fix, clues=clues, fix_at=at)]


def _file_systems(manifest: dict[str, object]) -> str:
    storage = value_at(manifest, "storage")
    if not isinstance(storage, dict):
        return ""
    names = {str(row.get("file_system", "")) for row in storage.values() if isinstance(row, dict)}
    return ", ".join(sorted(name for name in names if name))
