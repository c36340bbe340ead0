"""What runs differ in and an experiment can set: variables, parameters, interventions, the order of listings. Pure.

A factor has a value that makes runs equal and one that is tried by itself. Between arms these are the values that they have natively:
setting both to one of them is a swap for the other arm. The order of a file system has no value that another machine could take, and what
twins draw by chance has none either: they can only be made equal (`listing=sorted`, `seed=0`), and be left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from detctl_proto.redaction import MARK
from detctl_proto.variable_rules import REMOTE, REMOTE_VALUE

from detctl_coordinator.attribution.evidence.evidence import RunFacts
from detctl_coordinator.attribution.evidence.facts import value_at
from detctl_coordinator.attribution.evidence.suspects import Suspect
from detctl_coordinator.domain.run import RunSpec

Kind = Literal["env", "param", "probe"]
# What twins may draw by chance, and what makes that equal.
CHANCES: tuple[tuple[Kind, str, str, str, tuple[str, ...]], ...] = (
    ("probe", "seed", "seed", "0", ("unseeded-rng", "worker-seeding")),
    ("probe", "identity", "identity", "frozen", ("identity-seed", "unseeded-rng", "worker-seeding")),
    ("env", "PYTHONHASHSEED", "hash", "0", ("hash-order",)),
    ("probe", "completion", "completion", "asked", ("concurrency",)),
)
# These make whole classes of chance equal. They show a class, and never confirm a cause (docs/adr/0040).
MASKS: tuple[tuple[str, str, str, str], ...] = (
    ("worker_seeds", "0", "worker-seeding", "what workers draw from their generators"),
    ("workers", "0", "concurrency", "what DataLoader workers do beside each other"),
    ("threads", "1", "concurrency", "what threads of one operation do beside each other"),
    (
        "deterministic",
        "on",
        "nondeterministic-kernel",
        "an operation that sums in a racing order, or reads memory that nobody has filled",
    ),
)
# What every x86 processor can do, for machines whose processors dispatch to different instruction sets by themselves.
LOWEST_ISA = (("ATEN_CPU_CAPABILITY", "default"), ("ONEDNN_MAX_CPU_ISA", "SSE41"), ("MKL_CBWR", "COMPATIBLE"))
DISPATCHED = ("torch.cpu_capability", "torch.mkldnn_isa", "machine.cpu_isa")
# The word that a cause gets where its factor is confirmed and no signature says it better.
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
}
OTHERWISE = "config-drift"
COMPUTES = ("threads", "precision")  # families that change how a value is computed, never which
# Calls that take random bytes from the system, as the intervention `identity` names them.
SYSTEM_RANDOM = frozenset(("os.urandom", "random.seed", "uuid.uuid4"))
MANIFEST_KEYS: Mapping[Kind, str] = {"env": "variables.", "param": "recipe.parameters.", "probe": "probe."}
BEFORE_COMPUTING = ("code", "listing", "files", "rng", "order", "sample", "batch")


@dataclass(frozen=True)
class Factor:
    """equal: the value with which runs are made equal; released: the other that is tried, empty: as it is natively (a variable: unset).

    swaps: both values are an arm's own. words: causes that it confirms, where the first signature must have named one."""

    kind: Kind
    name: str
    family: str
    equal: str = ""
    released: str = ""
    swaps: bool = True
    words: tuple[str, ...] = ()
    likely: bool = True  # tried by itself; the others together first
    masks: str = ""  # the class that it hides where it only masks; then it confirms nothing

    @property
    def shown(self) -> str:
        """As `--set` takes it."""
        return f"env:{self.name}" if self.kind == "env" else self.name

    @property
    def key(self) -> str:
        """As the manifest (`variables.TZ`) and a suspect name it."""
        return MANIFEST_KEYS[self.kind] + self.name

    def word_at(self, stage: str, calls: Collection[str] = ()) -> str:
        """The cause word for its effect where runs first diverge in `stage`. Threads that change data do so by somebody's choice.

        calls: what it replaced; a frozen identity that gave random bytes stood in for a generator's seed."""
        if self.family == "identity" and SYSTEM_RANDOM & {*calls}:
            return WORD_OF_FAMILY["seed"]
        if self.family in COMPUTES and stage in BEFORE_COMPUTING:
            return OTHERWISE
        return WORD_OF_FAMILY.get(self.family, OTHERWISE)

    def value_words(self, value: str) -> str:
        return f"{self.shown}={value}" if value or self.kind != "env" else f"{self.shown} unset"

    def applied(self, spec: RunSpec, value: str) -> RunSpec:
        """The spec with this factor at a value; an intervention of no value is none."""
        if self.kind == "env":
            return replace(spec, variables={**spec.variables, self.name: value})
        if self.kind == "param":
            return replace(spec, parameters={**spec.parameters, self.name: value})
        kept = {name: old for name, old in spec.interventions.items() if name != self.name}
        return replace(spec, interventions={**kept, self.name: value} if value else kept)

    def read_back(self, value: str, manifest: Mapping[str, Any], interventions: Sequence[Mapping[str, Any]]) -> str:
        """Empty where a run had the value, else why it counts as not set."""
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
            return f"{self.name} was not read back"
        return "" if row.get("acted") else f"{self.name} had no effect: {row.get('detail', '')}"

    def idles(self, value: str, interventions: Sequence[Mapping[str, Any]]) -> bool:
        """Whether it was there and had nothing to act on: no folder was listed, no clock was read. A swap must act."""
        if self.swaps or self.kind != "probe" or not value:
            return False
        row = self._row(interventions)
        return row is not None and not row.get("acted")

    def _row(self, interventions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        return next((row for row in interventions if row.get("name") == self.name), None)


def masks(spec: RunSpec) -> list[Factor]:
    """Factors that hide classes of chance, less what the audit itself sets."""
    return [
        Factor("probe", name, name, value, swaps=False, words=(word,), masks=text)
        for name, value, word, text in MASKS
        if name not in spec.interventions
    ]


def chances(spec: RunSpec) -> list[Factor]:
    """Factors of twins, less what the audit itself sets."""
    given = {**spec.variables, **spec.interventions}
    return [
        Factor(kind, name, family, equal, swaps=False, words=words)
        for kind, name, family, equal, words in CHANCES
        if name not in given
    ]


def factors_of(
    suspects: Sequence[Suspect], left: RunFacts, right: RunFacts, *, lists: bool, identity: bool = False
) -> list[Factor]:
    """Factors of two arms, deliberate ones first. lists: their listings differ in order; identity: who they are may be at work."""
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
                continue  # a value that is not recorded cannot be set
            if all(name in (value_at(side.manifest, "recipe", "parameters") or {}) for side in (left, right)):
                found.append(Factor("param", name, suspect.family, a, b, likely=True))
        elif prefix == "probe" and name != "listing":
            found.append(Factor("probe", name, suspect.family, a, b))
    return found


def _likely_first(suspect: Suspect) -> tuple[bool, bool]:
    """What the audit itself set apart, then what is known to change numbers, then any other setting."""
    return not suspect.deliberate, suspect.family == "config" and not suspect.read_at
