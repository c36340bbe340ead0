"""For three or more configurations: finds the facts that split them into the same groups as their results do. Pure.

With m configurations, a fact splits them the same way at random with probability 2^-(m-1). So all such facts are listed with their
number, facts that are unique to each configuration are left out, and only a swap confirms one (docs/adr/0040).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from detctl_proto.security.redaction import agree

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import ConfigurationRuns
from detctl_coordinator.attribution.evidence.settings.suspect_families import family_of
from detctl_coordinator.domain.manifest import flatten

CONFIGURATIONS_MIN = 3
SHOWN = 8
Split = frozenset[frozenset[str]]


def partition_notes(case: Case) -> list[str]:
    """Returns one line or none. It needs at least three reproducible configurations, in groups of which one has several."""
    configurations = [runs for runs in case.configurations if case.reproducible(runs)]
    if len(configurations) < CONFIGURATIONS_MIN:
        return []
    groups = _groups(case, configurations)
    if not 1 < len(groups) < len(configurations):
        return []
    facts = {runs.label: dict(flatten(case.facts(case.representative(runs)).manifest)) for runs in configurations}
    target = frozenset(frozenset(group) for group in groups)
    matching, both = matching_facts(facts, target)
    shown = " ≠ ".join(" = ".join(group) for group in groups)
    if matching:
        more = f" and {len(matching) - SHOWN} more" if len(matching) > SHOWN else ""
        percent = 100 * 2.0 ** -(len(configurations) - 1)
        listed = f"{len(matching)} facts split them into the same groups: {', '.join(matching[:SHOWN])}{more}"
        return [f"{shown}: {listed} (probability for one fact at random: {percent:.2g} %; only a swap confirms it)"]
    if both:
        return [f"{shown}: no single fact splits them into the same groups, but {both[0]} and {both[1]} together do"]
    return [f"{shown}: no fact and no two facts split them into the same groups"]


def matching_facts(facts: Mapping[str, Mapping[str, str]], target: Split) -> tuple[list[str], tuple[str, str] | None]:
    """Returns (facts that alone split the configurations into the target groups, or two facts that do so together).

    `facts`: label of a configuration -> dotted fact -> value."""
    keys = sorted(
        {key for one in facts.values() for key in one if family_of(key) is not None and _comparable(key, facts)}
    )
    splits = {key: _split({label: one.get(key) for label, one in facts.items()}) for key in keys}
    informative = {key: split for key, split in splits.items() if 1 < len(split) < len(facts)}
    matching = [key for key, split in informative.items() if split == target]
    if matching:
        return matching, None
    for a, b in combinations(informative, 2):
        if _split({label: (facts[label].get(a), facts[label].get(b)) for label in facts}) == target:
            return [], (a, b)
    return [], None


def _comparable(key: str, facts: Mapping[str, Mapping[str, str]]) -> bool:
    """Returns whether all values can be compared, which digests with different keys cannot."""
    values = list(dict.fromkeys(one.get(key) for one in facts.values()))
    return all(agree(a, b) is not None for a, b in combinations(values, 2))


def _split(values: Mapping[str, object]) -> Split:
    found: dict[object, set[str]] = {}
    for label, value in values.items():
        found.setdefault(value, set()).add(label)
    return frozenset(frozenset(group) for group in found.values())


def _groups(case: Case, configurations: Sequence[ConfigurationRuns]) -> list[list[str]]:
    """Returns the labels of configurations, in groups of equal results."""
    overall, _ = case.groups
    labels = {case.representative(runs).run.spec.run_id: runs.label for runs in configurations}
    groups = [[labels[r.run.spec.run_id] for r in group if r.run.spec.run_id in labels] for group in overall]
    return [group for group in groups if group]
