"""Runs sorted into arms: the runs of one arm are twins, and only twins prove that a difference comes from the code.

Runs of one audit are twins by plan. Runs from elsewhere (two recordings, two audits) are twins only where they share the arm and
no suspect fact of their environments differs; else each is an arm of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detctl_coordinator.attribution.evidence.facts import manifest_of, value_at
from detctl_coordinator.attribution.evidence.suspects import Suspect, suspects_of
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.run import Arm


@dataclass(frozen=True)
class RunArm:
    """An arm and its runs, in the order of the request."""

    arm: Arm
    readers: tuple[RunReader, ...]


def sort_into_arms(readers: Sequence[RunReader]) -> list[RunArm]:
    """Arms in the order of their first runs."""
    arms: list[tuple[Arm, list[RunReader]]] = []
    for reader in readers:
        home = next(
            (members for arm, members in arms if arm == reader.run.spec.arm and _twins(members[0], reader)), None
        )
        if home is None:
            arms.append((reader.run.spec.arm, [reader]))
        else:
            home.append(reader)
    return [RunArm(arm, tuple(members)) for arm, members in arms]


def kept_apart_by_their_folder(a: RunArm, b: RunArm) -> bool:
    """Two recordings of one command in one place, that would be twins if files of the place had not changed in between."""
    first, second = a.readers[0], b.readers[0]
    same = a.arm.machine == b.arm.machine and first.run.spec.recipe == second.run.spec.recipe
    if not same or not all(value_at(manifest_of(r), "recipe", "in_place") for r in (first, second)):
        return False
    return {suspect.family for suspect in _told_apart(first, second)} == {"code"}


def _twins(a: RunReader, b: RunReader) -> bool:
    ours, theirs = a.run.spec, b.run.spec
    if ours.audit_id and ours.audit_id == theirs.audit_id:
        return True
    return ours.recipe == theirs.recipe and not _told_apart(a, b)


def _told_apart(a: RunReader, b: RunReader) -> list[Suspect]:
    return suspects_of(manifest_of(a), manifest_of(b), a.run.spec, b.run.spec)


def label_runs(readers: Sequence[RunReader], given: Mapping[str, str]) -> dict[str, str]:
    """run id -> label, each label once; runs that share one get their id behind it."""
    labels = {r.run.spec.run_id: given.get(r.run.spec.run_id) or r.run.spec.label for r in readers}
    counts: dict[str, int] = {}
    for label in labels.values():
        counts[label] = counts.get(label, 0) + 1
    return {run: label if counts[label] == 1 else f"{label}~{run}" for run, label in labels.items()}
