"""Aligns the fingerprints of one step of two runs by (site, occurrence), and classifies each difference.

structure: a fingerprint is missing, extra, or has another dtype or shape. permutation: the same rows (or the same fingerprints of
one site) in another order. content: other values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from detctl_proto.verdict_words import KindWord

from detctl_coordinator.comparison.sizes.sketches import Size, relative_size, size_class
from detctl_coordinator.domain.fingerprint import Fingerprint, Stage

NAMES_DTYPE = "py:names"
NAMES_SHOWN = 3


@dataclass(frozen=True)
class SiteDifference:
    """One fingerprint that differs. `rows`: positions of differing rows. `only_left`, `only_right`: names in a listing that only
    one side has; "?" if the name was not recorded. `relative`: estimated size of the difference relative to the value."""

    stage: Stage
    site: str
    occurrence: int
    kind: KindWord
    description: str
    left: Fingerprint | None
    right: Fingerprint | None
    rows: tuple[int, ...] = ()
    only_left: tuple[str, ...] = ()
    only_right: tuple[str, ...] = ()
    relative: float | None = None
    size: Size | None = None

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The evidence of the left fingerprint, or of the right one if the left has none."""
        return (self.left and self.left.evidence) or (self.right and self.right.evidence) or {}

    @property
    def is_tensor(self) -> bool:
        """Whether it is a value of the model or the data, and not Python state (dtype `py:...`)."""
        sides = [side for side in (self.left, self.right) if side is not None]
        return any(not side.dtype.startswith("py:") for side in sides)


def align(left: Sequence[Fingerprint], right: Sequence[Fingerprint]) -> list[SiteDifference]:
    """Returns all differences of one step of one stream, in program order of the left side. Extra fingerprints of the right side
    come last."""
    right = _with_sites_of(left, right)
    ours = {(r.site, r.occurrence): r for r in left}
    theirs = {(r.site, r.occurrence): r for r in right}
    found: list[SiteDifference] = []
    for key, a in ours.items():
        b = theirs.get(key)
        difference = _missing(a, "right") if b is None else _pair(a, b)
        if difference is not None:
            found.append(difference)
    found.extend(_missing(b, "left") for key, b in theirs.items() if key not in ours)
    return _reordered(found)


def _with_sites_of(left: Sequence[Fingerprint], right: Sequence[Fingerprint]) -> Sequence[Fingerprint]:
    """Returns the right side's fingerprints. A listing gets the site of a left one if each is the only listing with its names and
    the other side does not know its folder: the path of a folder is not its identity (docs/adr/0010)."""
    if not any(record.stage is Stage.LISTING and record.order_blind for record in right):
        return right
    ours, theirs = {r.site for r in left}, {r.site for r in right}
    only_ours = _by_content(r for r in left if r.site not in theirs)
    only_theirs = _by_content(r for r in right if r.site not in ours)
    renamed = {
        next(iter(sites)): next(iter(only_ours[content]))
        for content, sites in only_theirs.items()
        if len(sites) == 1 and len(only_ours.get(content, ())) == 1
    }
    return [replace(r, site=renamed[r.site]) if r.site in renamed else r for r in right]


def _by_content(records: Iterable[Fingerprint]) -> dict[tuple[object, ...], set[str]]:
    sites: dict[tuple[object, ...], set[str]] = {}
    for record in records:
        sites.setdefault((record.order_blind, record.shape, record.dtype), set()).add(record.site)
    return sites


def kind_of(differences: Sequence[SiteDifference]) -> KindWord:
    """Returns the kind of a whole step: structure wins over content, and content over permutation."""
    kinds = {d.kind for d in differences}
    return "structure" if "structure" in kinds or not kinds else "content" if "content" in kinds else "permutation"


def _missing(record: Fingerprint, where: str) -> SiteDifference:
    description = f"only the {'first' if where == 'right' else 'second'} run has this fingerprint"
    left, right = (record, None) if where == "right" else (None, record)
    return SiteDifference(record.stage, record.site, record.occurrence, "structure", description, left, right)


def _pair(a: Fingerprint, b: Fingerprint) -> SiteDifference | None:
    same = (a.dtype, a.shape, a.digest, a.order_blind) == (b.dtype, b.shape, b.digest, b.order_blind)
    if same:
        return None
    base = SiteDifference(a.stage, a.site, a.occurrence, "content", "", a, b)
    only_left, only_right = _names(a, b)
    base = replace(base, only_left=only_left, only_right=only_right)
    if a.dtype != b.dtype:
        return replace(base, kind="structure", description=f"the dtypes differ: {a.dtype} vs {b.dtype}")
    if a.shape != b.shape:
        shapes = f"the shapes differ: {list(a.shape)} vs {list(b.shape)}"
        if a.dtype == NAMES_DTYPE and len(a.shape) == len(b.shape) == 1:
            shapes = f"the numbers of names differ: {a.shape[0]} vs {b.shape[0]}"
        return replace(base, kind="structure", description=shapes + _format_only(only_left, only_right))
    rows = _differing_rows(a, b)
    if _is_permutation(a, b):
        moved = f"{len(rows)} of {len(a.rows)} rows moved" if a.rows else "same rows"
        description = f"the same content in another order ({moved})"
        return replace(base, kind="permutation", description=description, rows=rows)
    relative = relative_size(a.sketch, b.sketch)
    size = size_class(relative, a.dtype)
    description = (
        "the values differ"
        if size is None
        else f"the values differ by {relative:.1e} relative ({'gross' if size == 'gross' else 'small'})"
    )
    if rows:
        description += f" in {len(rows)} of {len(a.rows or ())} rows"
    description += _format_only(only_left, only_right)
    return replace(base, description=description, rows=rows, relative=relative, size=size)


def _is_permutation(a: Fingerprint, b: Fingerprint) -> bool:
    if a.order_blind is not None and b.order_blind is not None:
        return a.order_blind == b.order_blind
    return a.rows is not None and b.rows is not None and Counter(a.rows) == Counter(b.rows)


def _differing_rows(a: Fingerprint, b: Fingerprint) -> tuple[int, ...]:
    if a.rows is None or b.rows is None or len(a.rows) != len(b.rows):
        return ()
    return tuple(i for i, (x, y) in enumerate(zip(a.rows, b.rows, strict=True)) if x != y)


def _names(a: Fingerprint, b: Fingerprint) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the names that only one side has. The rows of a listing are hashes of names, and its evidence has the first names in
    plain text; any other name is `?`."""
    if a.dtype != NAMES_DTYPE or a.rows is None or b.rows is None:
        return (), ()
    known = {name_hash(name): name for record in (a, b) for name in _recorded_names(record)}
    left, right = Counter(a.rows), Counter(b.rows)
    return (
        tuple(known.get(row, "?") for row in (left - right).elements()),
        tuple(known.get(row, "?") for row in (right - left).elements()),
    )


def name_hash(name: str) -> bytes:
    """Returns the row digest of a name in a listing, computed as the probe does."""
    return blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _recorded_names(record: Fingerprint) -> list[str]:
    names = record.evidence.get("names") or record.evidence.get("first") or ()
    return [str(name) for name in names] if isinstance(names, list) else []


def _format_only(left: Sequence[str], right: Sequence[str]) -> str:
    parts = []
    for names, which in ((left, "first"), (right, "second")):
        shown = [name for name in names if name != "?"][:NAMES_SHOWN]
        more = len(names) - len(shown)
        if names:
            rest = f"{more} more" if shown else f"{more} names"
            parts.append(
                f"only the {which} has {', '.join(shown)}{' and ' if shown and more else ''}{rest if more else ''}"
            )
    return f"; {'; '.join(parts)}" if parts else ""


def _reordered(found: list[SiteDifference]) -> list[SiteDifference]:
    """Returns the differences, as permutations where fingerprints of one site are the same in another order (files, samples)."""
    by_site: dict[str, list[SiteDifference]] = {}
    for difference in found:
        by_site.setdefault(difference.site, []).append(difference)
    moved = {
        site
        for site, group in by_site.items()
        if len(group) > 1
        and all(d.kind == "content" and d.left is not None and d.right is not None for d in group)
        and Counter(d.left.digest for d in group if d.left) == Counter(d.right.digest for d in group if d.right)
    }
    return [
        replace(d, kind="permutation", description=f"the same {len(by_site[d.site])} fingerprints in another order")
        if d.site in moved
        else d
        for d in found
    ]
