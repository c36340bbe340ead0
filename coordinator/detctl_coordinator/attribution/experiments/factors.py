"""Factors: settings that an experiment can make equal, such as variables, parameters, interventions, the listing order. Pure.

A factor has a value that makes the runs equal and another one that is tried when it is released. Between two configurations these
are their own values, so setting both to one of them swaps the value of the other. The listing order of a file system and the
randomness of twins have no value that another run could take. They can only be made equal (`listing=sorted`, `seed=0`) or be left
unset.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from detctl_proto.security.redaction import MARK
from detctl_proto.security.variable_rules import REMOTE, REMOTE_VALUE

from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts
from detctl_coordinator.attribution.evidence.settings.suspects import Suspect
from detctl_coordinator.domain.run import RunSpec

Kind = Literal["env", "param", "probe"]
# Sources of randomness of twins: kind, name, family, the value that makes them equal, and the causes that they confirm.
RANDOMNESS: tuple[tuple[Kind, str, str, str, tuple[str, ...]], ...] = (
    ("probe", "seed", "seed", "0", ("unseeded-rng", "worker-seeding")),
    ("probe", "identity", "identity", "frozen", ("identity-seed", "unseeded-rng", "worker-seeding")),
    ("env", "PYTHONHASHSEED", "hash", "0", ("hash-order",)),
    ("probe", "completion", "completion", "asked", ("concurrency",)),
)
# Each mask removes a whole class of randomness: name, value, causes in that class, and what it removes. Masks overlap.
MASKS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("worker_seeds", "0", ("worker-seeding",), "random draws inside DataLoader workers"),
    ("workers", "0", ("concurrency",), "races between DataLoader workers"),
    ("threads", "1", ("nondeterministic-kernel", "concurrency"), "races between the threads of one operation"),
    (
        "deterministic",
        "on",
        ("nondeterministic-kernel",),
        "operations that sum in a varying order or read uninitialised memory",
    ),
)
# Instruction sets of every x86 processor, for machines whose libraries select different ones at run time.
LOWEST_ISA = (("ATEN_CPU_CAPABILITY", "default"), ("ONEDNN_MAX_CPU_ISA", "SSE41"), ("MKL_CBWR", "COMPATIBLE"))
DISPATCHED = ("torch.cpu_capability", "torch.mkldnn_isa", "machine.cpu_isa")
# The cause word of a confirmed factor if no signature names a better one.
WORD_OF_FAMILY: Mapping[str, str] = {
    "threads": "thread-count",
    "isa": "cpu-isa",
    "workers": "worker-count",
    "hash": "hash-order",
    "precision": "precision-mode",
    "listing": "filesystem-order",
    "seed": "unseeded-rng",
    "identity": "identity-seed",
    "completion": "concurrency",
    "deterministic": "nondeterministic-kernel",
}
OTHER_SETTING = "config-drift"
COMPUTES = ("threads", "precision")  # families that change how a value is computed, but not which value
# Calls that read random bytes from the system, as the intervention `identity` names them.
SYSTEM_RANDOM = frozenset(("os.urandom", "random.seed", "uuid.uuid4"))
MANIFEST_KEYS: Mapping[Kind, str] = {"env": "variables.", "param": "recipe.parameters.", "probe": "probe."}
BEFORE_COMPUTING = ("code", "listing", "files", "rng", "order", "sample", "batch")


@dataclass(frozen=True)
class Factor:
    """One setting. `equal`: the value that makes runs equal. `released`: the other value that is tried; empty: left unset.

    `swaps`: both values are a configuration's own. `confirms`: the causes that it can confirm; for sources of randomness, a
    signature must have named one of them."""

    kind: Kind
    name: str
    family: str
    equal: str = ""
    released: str = ""
    swaps: bool = True
    confirms: tuple[str, ...] = ()
    likely: bool = True  # tried alone; the unlikely ones are tried together first
    masks: str = ""  # the class of randomness that it removes if it is a mask

    @property
    def shown(self) -> str:
        """The name as `--set` takes it."""
        return f"env:{self.name}" if self.kind == "env" else self.name

    @property
    def key(self) -> str:
        """The key of the fact in the manifest, such as `variables.TZ`."""
        return MANIFEST_KEYS[self.kind] + self.name

    def word_at(self, stage: str, calls: Collection[str] = ()) -> str:
        """Returns the cause word for its effect if the runs first diverge in `stage`. A thread count that changes data before
        anything is computed acts as a setting of the program.

        `calls`: the calls that it replaced. A frozen identity that answered a read of random bytes replaced a seed."""
        if self.family == "identity" and SYSTEM_RANDOM & {*calls}:
            return WORD_OF_FAMILY["seed"]
        if self.family in COMPUTES and stage in BEFORE_COMPUTING:
            return OTHER_SETTING
        return WORD_OF_FAMILY.get(self.family, OTHER_SETTING)

    def format_value(self, value: str) -> str:
        """Returns `TZ=UTC`, or `TZ unset` for the empty value of a variable."""
        return f"{self.shown}={value}" if value or self.kind != "env" else f"{self.shown} unset"

    def applied(self, spec: RunSpec, value: str) -> RunSpec:
        """Returns the spec with this factor set to a value. An empty value removes an intervention."""
        if self.kind == "env":
            return replace(spec, variables={**spec.variables, self.name: value})
        if self.kind == "param":
            return replace(spec, parameters={**spec.parameters, self.name: value})
        kept = {name: old for name, old in spec.interventions.items() if name != self.name}
        return replace(spec, interventions={**kept, self.name: value} if value else kept)

    def read_back(self, value: str, manifest: Mapping[str, Any], interventions: Sequence[Mapping[str, Any]]) -> str:
        """Returns nothing if the run reported the value, else why the setting was not in effect."""
        if self.kind == "env":
            now = str((value_at(manifest, "variables") or {}).get(self.name) or "")
            return "" if now == value else f"{self.name} was {now!r}"
        if self.kind == "param":
            now = str((value_at(manifest, "recipe", "parameters") or {}).get(self.name, ""))
            return "" if now == value else f"{self.name} was {now!r}"
        if not value:
            return ""
        row = self._row(interventions)
        if row is None:
            return f"the run did not report whether {self.name} was in effect"
        return "" if row.get("acted") else f"{self.name} had no effect: {row.get('detail', '')}"

    def is_no_op(self, value: str, interventions: Sequence[Mapping[str, Any]]) -> bool:
        """Returns whether the intervention was set but had nothing to act on, such as a listing. False for a swap, which must
        act."""
        if self.swaps or self.kind != "probe" or not value:
            return False
        row = self._row(interventions)
        return row is not None and not row.get("acted")

    def _row(self, interventions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        return next((row for row in interventions if row.get("name") == self.name), None)


def masks(spec: RunSpec) -> list[Factor]:
    """Returns the masks, except those that the audit itself sets."""
    return [
        Factor("probe", name, name, value, swaps=False, confirms=causes, masks=text)
        for name, value, causes, text in MASKS
        if name not in spec.interventions
    ]


def sources_of_randomness(spec: RunSpec) -> list[Factor]:
    """Returns the factors of twins, except those that the audit itself sets."""
    given = {**spec.variables, **spec.interventions}
    return [
        Factor(kind, name, family, equal, swaps=False, confirms=causes)
        for kind, name, family, equal, causes in RANDOMNESS
        if name not in given
    ]


def factors_of(
    suspects: Sequence[Suspect], left: RunFacts, right: RunFacts, *, lists: bool, identity: bool = False
) -> list[Factor]:
    """Returns the factors of two configurations, deliberate ones first. `lists`: their listings differ in order. `identity`: a
    clock, process id, host name or path may feed a seed."""
    found: list[Factor] = []
    if identity:
        found.append(Factor("probe", "identity", "identity", "frozen", swaps=False))
    if lists:
        found.append(Factor("probe", "listing", "listing", "sorted", swaps=False))
    keys = {suspect.key for suspect in suspects}
    if keys & set(DISPATCHED) and not any(f"variables.{name}" in keys for name, _ in LOWEST_ISA):
        found += [Factor("env", name, "isa", value, swaps=False) for name, value in LOWEST_ISA]
    for suspect in sorted(suspects, key=_likely_first):
        likely = suspect.family != "config" or suspect.deliberate or bool(suspect.read_at)
        a, b = suspect.left or "", suspect.right or ""
        prefix, _, name = suspect.key.partition(".")
        if prefix == "variables" and name in REMOTE and all(REMOTE_VALUE.fullmatch(v) for v in (a, b)):
            found.append(Factor("env", name, suspect.family, a, b, likely=likely))
        elif suspect.key.startswith("recipe.parameters.") and suspect.left is not None and suspect.right is not None:
            name = suspect.key.removeprefix("recipe.parameters.")
            if MARK.search(a + b):
                continue  # a value that was not recorded cannot be set
            if all(name in (value_at(side.manifest, "recipe", "parameters") or {}) for side in (left, right)):
                found.append(Factor("param", name, suspect.family, a, b, likely=True))
        elif prefix == "probe" and name != "listing":
            found.append(Factor("probe", name, suspect.family, a, b))
    return found


def _likely_first(suspect: Suspect) -> tuple[bool, bool]:
    """Sort key: settings that the audit varied, then facts known to change numbers, then any other setting."""
    return not suspect.deliberate, suspect.family == "config" and not suspect.read_at
