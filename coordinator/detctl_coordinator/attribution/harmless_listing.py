"""Recognises folders that are listed in another order, whose order the program then loses by sorting. Pure."""

from __future__ import annotations

from dataclasses import replace

from detctl_coordinator.attribution.evidence.facts import location_of
from detctl_coordinator.attribution.evidence.observed.read_files import compare_files, read_files
from detctl_coordinator.attribution.evidence.observed.source_lines import source_of
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts
from detctl_coordinator.comparison.pair import NodeDifference, PairComparison
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.domain.fingerprint import Stage


def without_harmless_listing(pair: PairComparison, left: RunFacts, right: RunFacts) -> PairComparison:
    """Returns the comparison without the difference in stage listing if it explains nothing: each of its lines sorts the names, or the
    files were opened in the same order although one of them has another content."""
    listing = pair.differences.get(Node(Stage.LISTING))
    if listing is None or listing.kind != "permutation":
        return pair
    if not _is_sorted(listing, left, right) and not _files_explain(pair, left, right):
        return pair
    return replace(pair, differences={node: d for node, d in pair.differences.items() if d is not listing})


def _is_sorted(listing: NodeDifference, left: RunFacts, right: RunFacts) -> bool:
    source = source_of(left.manifest, right.manifest)
    places = [location_of(site.evidence) for site in listing.sites]
    lines = [source.line(place["file"], place["line"]) for place in places]
    return bool(lines) and all(line is not None and line.loses_order for line in lines)


def _files_explain(pair: PairComparison, left: RunFacts, right: RunFacts) -> bool:
    files = Node(Stage.FILES)
    if files not in pair.observed or files in pair.differences:
        return False
    return bool(compare_files(read_files(left.manifest), read_files(right.manifest)).data)
