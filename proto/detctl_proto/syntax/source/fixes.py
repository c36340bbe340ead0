"""Writes the line that removes a cause: the user's own line, changed. It returns nothing if no such line is known to work.

A fix is parsed again in its file before it is returned. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from detctl_proto.syntax.source.edits import Edit, Fix, applied
from detctl_proto.syntax.source.listing_fixes import sorted_listings
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.order_fixes import completions_in_order, ordered_by_content
from detctl_proto.syntax.source.seed_fixes import constant_seeds, seeded_generators
from detctl_proto.syntax.source.sets import Sets

Maker = Callable[[Sets, Module, int], Iterator[Edit]]
_MAKERS: dict[str, Maker] = {
    "filesystem-order": sorted_listings,
    "hash-order": ordered_by_content,
    "unseeded-rng": seeded_generators,
    "worker-seeding": seeded_generators,
    "identity-seed": constant_seeds,
    "concurrency": completions_in_order,
}
CAUSES = tuple(_MAKERS)


def fix_of(cause: str, sets: Sets, module: Module, source: str, line: int) -> Fix | None:
    """Returns the fix of a cause at a line of a file."""
    maker = _MAKERS.get(cause)
    if maker is None:
        return None
    try:
        edits = list(maker(sets, module, line))
        return applied(module, source, edits) if edits else None
    except (RecursionError, ValueError, SyntaxError):
        return None
