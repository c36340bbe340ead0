"""Suspects: facts that differ between the environments of two runs, sorted by what they can affect. A suspect is not yet a cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detctl_proto.security.redaction import MARK, NOT_RECORDED, REDACTED, redact_value, shown_value, variables_agree
from detctl_proto.security.variable_rules import names_a_secret

from detctl_coordinator.attribution.evidence.settings.suspect_families import (
    IRRELEVANT_VARIABLES,
    Family,
    family_of,
    family_of_parameter,
    family_of_variable,
)
from detctl_coordinator.domain.manifest import differences
from detctl_coordinator.domain.run import RunSpec

DIGEST = re.compile(r"^[0-9a-f]{40,}$")
COMMAND_KEY = "recipe.command"
SHOWN_AS = (
    ("variables.", ""),
    ("recipe.parameters.", "parameter "),
    ("python.packages.", ""),
    ("recipe.source_digest", "the recipe's source"),
    ("recipe.git_commit", "the recipe's commit"),
    (COMMAND_KEY, "the recipe's command"),
)
INTERVENTIONS: Mapping[str, Family] = {
    "listing": "listing",
    "precision": "precision",
    "seed": "seed",
    "threads": "threads",
    "workers": "workers",
}


@dataclass(frozen=True)
class Suspect:
    """One fact that differs. `deliberate`: the audit varied it (`--vary`, environments, interventions)."""

    key: str
    left: str | None
    right: str | None
    family: Family
    deliberate: bool = False
    read_at: str = ""  # `file:line` at which the training's own code reads it; empty: unknown

    @property
    def name(self) -> str:
        """The key as displayed: `OMP_NUM_THREADS`, `torch`, `parameter workers`."""
        for prefix, shown in SHOWN_AS:
            if self.key.startswith(prefix):
                return shown + self.key[len(prefix) :]
        return self.key

    @property
    def description(self) -> str:
        """`TZ differs: UTC vs CET, read at train.py:5`."""
        read = f", read at {self.read_at}" if self.read_at else ""
        values = self._shown_values()
        return f"{self.name} differs{f': {values}' if values else f' {NOT_RECORDED}'}{read}"

    @property
    def listed(self) -> str:
        """`TZ (UTC vs CET)`, for lists of facts."""
        values = self._shown_values()
        return f"{self.name} ({values})" if values else self.name

    def _shown_values(self) -> str:
        """Returns both values without credentials; empty if they look the same, since they are not recorded."""
        values = [value or "" for value in (self.left, self.right)]
        if names_a_secret(self.key.rpartition(".")[2]):  # an audit may have varied it
            values = [NOT_RECORDED if value else "" for value in values]
        left, right = (_short(shown_value(redact_value(value))) or "(unset)" for value in values)
        return "" if left == right else f"{left} vs {right}"


def _short(value: str) -> str:
    """Returns a value, shortened to twelve digits if it is a digest."""
    return f"{value[:12]}…" if DIGEST.match(value) else value


def suspects_of(
    left: Mapping[str, Any], right: Mapping[str, Any], left_spec: RunSpec, right_spec: RunSpec
) -> list[Suspect]:
    """Returns the suspects of two runs, from their manifests and specs, deliberate ones first."""
    found: dict[str, Suspect] = {}
    for suspect in _deliberate(left_spec, right_spec):
        found[suspect.key] = suspect
    paths = {str(p) for m in (left, right) for p in _section(m, "recipe").get("paths") or ()}
    changed = differences(left, right)
    for key, (a, b) in changed.items():
        family = family_of(key, paths)
        if key == COMMAND_KEY and any(k.startswith("recipe.parameters.") for k in changed):
            continue  # the command only repeats the parameters
        if key == "recipe.git_commit" and "recipe.source_digest" not in changed:
            continue  # another commit with the same sources
        if _credentials_alone(a, b):
            continue  # the verdict lists it with the differing facts; a password changes no number
        if family is not None and key not in found:
            found[key] = Suspect(key, a, b, family)
    return list(found.values())


def _credentials_alone(left: str | None, right: str | None) -> bool:
    """Returns whether two values differ only in the credentials inside them."""
    return (
        left is not None
        and right is not None
        and MARK.fullmatch(left) is None
        and MARK.sub(REDACTED, left) == MARK.sub(REDACTED, right)
    )


def read_variables(left: Mapping[str, Any], right: Mapping[str, Any], read_at: Mapping[str, str]) -> list[Suspect]:
    """Returns the variables that differ and that the training's own code reads (`read_at`: name -> file:line). They are
    settings whatever their name; other variables of the shell are not suspects."""
    ours, theirs = _section(left, "variables"), _section(right, "variables")
    return [
        Suspect(
            f"variables.{name}",
            ours.get(name),
            theirs.get(name),
            family_of_variable(name) or family_of_parameter(name),
            read_at=where,
        )
        for name, where in read_at.items()
        if variables_agree(name, left, right) is False
        and not names_a_secret(name)
        and (family_of_variable(name) or not IRRELEVANT_VARIABLES.match(name))
    ]


def _deliberate(left: RunSpec, right: RunSpec) -> Iterator[Suspect]:
    """Yields the settings that the audit varied."""
    kinds = (("recipe.parameters.", left.parameters, right.parameters), ("variables.", left.variables, right.variables))
    for prefix, ours, theirs in kinds:
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name):
                key = prefix + name
                family = family_of(key) or "config"
                yield Suspect(key, ours.get(name), theirs.get(name), family, deliberate=True)
    for name in {**left.interventions, **right.interventions}:
        a, b = left.interventions.get(name), right.interventions.get(name)
        if a != b:
            yield Suspect(f"probe.{name}", a, b, INTERVENTIONS.get(name, "config"), deliberate=True)


def _section(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = manifest.get(name)
    return section if isinstance(section, Mapping) else {}
