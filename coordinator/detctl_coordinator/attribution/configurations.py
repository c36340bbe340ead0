"""Sorts runs by configuration. The runs of one configuration are twins; only twins prove that a difference comes from the code.

Runs of one audit are twins by plan. Other runs (two recordings, or runs of two audits) are twins only if they have the same
configuration and no suspect fact of their environments differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detctl_coordinator.attribution.evidence.facts import manifest_of, notes_of, of_kind, value_at
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect, read_variables, suspects_of
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.run import Arm


@dataclass(frozen=True)
class ConfigurationRuns:
    """A configuration and its runs, in the order of the request."""

    configuration: Arm
    readers: tuple[RunReader, ...]

    @property
    def machine(self) -> str:
        return self.configuration.machine

    @property
    def label(self) -> str:
        return self.configuration.label


def sort_by_configuration(readers: Sequence[RunReader]) -> list[ConfigurationRuns]:
    """Returns the configurations with their runs, in the order of their first runs."""
    groups: list[list[RunReader]] = []
    for reader in readers:
        group = next((group for group in groups if _are_twins(group[0], reader)), None)
        if group is None:
            groups.append([reader])
        else:
            group.append(reader)
    return [ConfigurationRuns(group[0].run.spec.arm, tuple(group)) for group in groups]


def separated_by_changed_files(a: ConfigurationRuns, b: ConfigurationRuns) -> bool:
    """Returns whether two recordings of one command in one folder are not twins only because files of the folder changed."""
    first, second = a.readers[0], b.readers[0]
    same = a.machine == b.machine and first.run.spec.recipe == second.run.spec.recipe
    if not same or not all(value_at(manifest_of(r), "recipe", "in_place") for r in (first, second)):
        return False
    return {suspect.family for suspect in _suspects(first, second)} == {"code"}


def _are_twins(a: RunReader, b: RunReader) -> bool:
    ours, theirs = a.run.spec, b.run.spec
    if ours.arm != theirs.arm:
        return False
    if ours.audit_id and ours.audit_id == theirs.audit_id:
        return True
    return ours.recipe == theirs.recipe and not _suspects(a, b) and not _read_differently(a, b)


def _read_differently(a: RunReader, b: RunReader) -> bool:
    """Returns whether a variable differs that the training's own code reads."""
    read_at = {
        str(n.raw["name"]): n.where for n in of_kind([*notes_of(a), *notes_of(b)], "variable") if "name" in n.raw
    }
    return bool(read_at) and bool(read_variables(manifest_of(a), manifest_of(b), read_at))


def _suspects(a: RunReader, b: RunReader) -> list[Suspect]:
    return suspects_of(manifest_of(a), manifest_of(b), a.run.spec, b.run.spec)


def label_runs(readers: Sequence[RunReader], given: Mapping[str, str]) -> dict[str, str]:
    """Returns run id -> label. Labels are unique: runs that share one get their run id appended."""
    labels = {r.run.spec.run_id: given.get(r.run.spec.run_id) or r.run.spec.label for r in readers}
    counts: dict[str, int] = {}
    for label in labels.values():
        counts[label] = counts.get(label, 0) + 1
    return {run: label if counts[label] == 1 else f"{label}~{run}" for run, label in labels.items()}
