"""filesystem-order: a directory is listed in another order, and the training goes by it."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.evidence import CauseFinding, Evidence, finding
from detctl_coordinator.attribution.evidence.facts import location_of, value_at
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage


def filesystem_order(evidence: Evidence) -> list[CauseFinding]:
    """Root in stage listing, every differing folder a permutation of the same names."""
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
        lines.append(f"{site.site}: the same {count or ''} names in another order".replace("  ", " ") + by)
    kinds = [_file_systems(side.manifest) for side in (evidence.left, evidence.right)]
    if kinds[0] != kinds[1] and all(kinds):
        lines.append(f"file system of the data: {kinds[0]} against {kinds[1]}")
    for suspect in evidence.family("listing"):
        lines.append(f"the order was set on purpose: {suspect.words}")
    if evidence.within:
        lines.append("the order differs between twins of one machine: each run lists a folder of its own")
    at = next((clue.where for clue in clues if clue.where), "")
    fix = f"sort what the listing returns ({at})" if at else "sort what the listing returns before it is used"
    return [finding(evidence, "filesystem-order", lines, fix, clues=clues, fix_at=at)]


def _file_systems(manifest: dict[str, object]) -> str:
    storage = value_at(manifest, "storage")
    if not isinstance(storage, dict):
        return ""
    names = {str(row.get("file_system", "")) for row in storage.values() if isinstance(row, dict)}
    return ", ".join(sorted(name for name in names if name))
