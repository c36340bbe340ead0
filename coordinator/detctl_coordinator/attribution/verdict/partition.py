"""Three or more machines: which facts of their environments split them as their runs do. Pure.

With few machines many facts split them alike by chance (2^-(m-1) each), so all are listed with their number, facts that are unique to each
machine are dropped, and only a swap confirms one (docs/adr/0040).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from detctl_proto.redaction import agree

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import RunArm
from detctl_coordinator.attribution.evidence.suspects import family_of
from detctl_coordinator.domain.manifest import flatten

ARMS_MIN = 3
SHOWN = 8
Split = frozenset[frozenset[str]]


def partition_notes(case: Case) -> list[str]:
    """For people, one line; empty with fewer than three arms that repeat themselves, or where all are equal or each is alone."""
    arms = [arm for arm in case.arms if case.repeats(arm)]
    if len(arms) < ARMS_MIN:
        return []
    groups = _groups(case, arms)
    if not 1 < len(groups) < len(arms):
        return []
    facts = {arm.arm.label: dict(flatten(case.facts(case.representative(arm)).manifest)) for arm in arms}
    wanted = frozenset(frozenset(group) for group in groups)
    alike, both = splitting(facts, wanted)
    shown = " ≠ ".join(" = ".join(group) for group in groups)
    if alike:
        more = f" and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
        chance = 100 * 2.0 ** -(len(arms) - 1)
        told = f"{len(alike)} facts split them alike: {', '.join(alike[:SHOWN])}{more}"
        return [f"{shown}: {told} (each would by chance with {chance:.2g} %; a swap confirms)"]
    if both:
        return [f"{shown}: no single fact splits them alike; {both[0]} and {both[1]} together do"]
    return [f"{shown}: no fact of the environments, and no two, split them alike"]


def splitting(facts: Mapping[str, Mapping[str, str]], wanted: Split) -> tuple[list[str], tuple[str, str] | None]:
    """(facts that split the arms as wanted, else two that do so together)."""
    keys = sorted(
        {key for one in facts.values() for key in one if family_of(key) is not None and _comparable(key, facts)}
    )
    splits = {key: _split({label: one.get(key) for label, one in facts.items()}) for key in keys}
    telling = {key: split for key, split in splits.items() if 1 < len(split) < len(facts)}
    alike = [key for key, split in telling.items() if split == wanted]
    if alike:
        return alike, None
    for a, b in combinations(telling, 2):
        if _split({label: (facts[label].get(a), facts[label].get(b)) for label in facts}) == wanted:
            return [], (a, b)
    return [], None


def _comparable(key: str, facts: Mapping[str, Mapping[str, str]]) -> bool:
    """Not where values are recorded as digests under several keys."""
    values = list(dict.fromkeys(one.get(key) for one in facts.values()))
    return all(agree(a, b) is not None for a, b in combinations(values, 2))


def _split(values: Mapping[str, object]) -> Split:
    found: dict[object, set[str]] = {}
    for label, value in values.items():
        found.setdefault(value, set()).add(label)
    return frozenset(frozenset(group) for group in found.values())


def _groups(case: Case, arms: Sequence[RunArm]) -> list[list[str]]:
    """Labels of arms, equal ones together."""
    overall, _ = case.groups
    stands_for = {case.representative(arm).run.spec.run_id: arm.arm.label for arm in arms}
    groups = [[stands_for[r.run.spec.run_id] for r in group if r.run.spec.run_id in stands_for] for group in overall]
    return [group for group in groups if group]
