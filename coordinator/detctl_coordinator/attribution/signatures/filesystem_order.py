"""filesystem-order: a directory is listed in another order, and the training depends on it."""

from __future__ import annotations

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding, finding
from detctl_coordinator.attribution.evidence.facts import location_of, value_at
from detctl_coordinator.attribution.evidence.outside import times_that_differ
from detctl_coordinator.attribution.evidence.pair_evidence import Evidence
from detctl_coordinator.comparison.alignment import SiteDifference
from detctl_coordinator.domain.clue import Clue
from detctl_coordinator.domain.fingerprint import Stage

CAUSE = "filesystem-order"


def filesystem_order(evidence: Evidence) -> list[CauseFinding]:
    """Matches a root in stage listing if each differing folder has the same names in another order."""
    root = evidence.root
    if evidence.stage is not Stage.LISTING or root.kind != "permutation":
        return []
    lines, clues = [], []
    for site in [site for site in root.sites if not _sorted_at_once(evidence, site)] or root.sites:
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
        copies = "The order differs between twins on one machine, since each run lists its own copy of the folder."
        lines.append(evidence.other_places or copies)
    at, fix, change = _fix(evidence, clues)
    files = {clue.file for clue in clues}
    times = [p.left for p in times_that_differ(evidence) if p.left.clue.file in files]
    for note in times[:1]:
        quoted = f" (`{note.raw['code']}`)" if note.raw.get("code") else ""
        lines.append(f"The times of the files, which {note.where} reads, put the same files in another order, too.")
        at, fix, change = note.where, f"Sort by name instead of by time at {note.where}{quoted}.", []
    return [finding(evidence, CAUSE, lines, fix, clues=clues, fix_at=at, change=change)]


def _sorted_at_once(evidence: Evidence, site: SiteDifference) -> bool:
    """Returns whether the line that lists a folder also sorts the names, so that their order has no effect."""
    at = location_of(site.evidence)
    line = evidence.source.line(at["file"], at["line"])
    return line is not None and line.loses_order


def _fix(evidence: Evidence, clues: list[Clue]) -> tuple[str, str, list[str]]:
    """Returns (place, sentence, lines of a diff) of the fix. It changes the user's own lines if their source was recorded."""
    places = list(dict.fromkeys((clue.file, clue.line, clue.where) for clue in clues if clue.where))
    change: list[str] = []
    fixed: list[tuple[str, str]] = []
    for file, line, where in places:
        found = evidence.source.fix(CAUSE, file, line)
        if found is not None:
            change += [row for row in found.change if row not in change or row.startswith("  ")]
            fixed.append((where, found.expression))
    if fixed:
        where, expression = fixed[0]
        more = f", and the same at {', '.join(other for other, _ in fixed[1:])}" if len(fixed) > 1 else ""
        return where, f"Sort the names at {where}{f': {expression}' if expression else ''}{more}.", change
    at = places[0][2] if places else ""
    if at and evidence.source.known:
        quoted = evidence.source.quoted(places[0][0], places[0][1])
        shown = f" (`{quoted}`)" if quoted else ""
        return (
            at,
            f"Look at what uses the names that {at}{shown} gets: their order must not matter, or they must be sorted.",
            [],
        )
    return (
        at,
        f"Sort the names that the listing returns ({at})." if at else "Sort the names that the listing returns.",
        [],
    )


def _file_systems(manifest: dict[str, object]) -> str:
    storage = value_at(manifest, "storage")
    if not isinstance(storage, dict):
        return ""
    names = {str(row.get("file_system", "")) for row in storage.values() if isinstance(row, dict)}
    return ", ".join(sorted(name for name in names if name))
