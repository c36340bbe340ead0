"""The results of a round of experiments: a finding for each factor, and the cheapest fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.comparison.pairing import Scope


def by_experiment(text: str) -> str:
    """Returns a line of evidence from an experiment."""
    return f"Experiment: {text}"


@dataclass(frozen=True)
class Finding:
    """The result of releasing a factor. `effect`: True: it makes the runs diverge, False: it is excluded, None: no result.
    `acts_with`: factors without which it does not act. `calls`: the calls of the program that the intervention replaced."""

    factor: Factor
    effect: bool | None
    description: str
    causes: tuple[CauseFinding, ...] = ()
    acts_with: tuple[Factor, ...] = ()
    calls: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """The line of evidence for a cause that it confirms."""
        return by_experiment(self.description)

    @property
    def confirmed_by(self) -> Literal["swap", "equalised"]:
        return "swap" if self.factor.swaps else "equalised"


@dataclass(frozen=True)
class Fix:
    """The smallest set of settings that was tried. `suffices`: whether it alone makes the runs equal. `cost`: relative change of the
    step time (0.14: 14 % slower), None: not measured. `scatter`: by how much the slowest unchanged run exceeds the fastest.
    `steps`: number of timed steps."""

    values: Mapping[Factor, str]
    suffices: bool
    cost: float | None
    scatter: float
    steps: int


@dataclass
class Round:
    """One round. `equalised`: whether the runs of the all-equal baseline agree; None: no result. `note`: why the round ended early."""

    scope: Scope
    equalised: bool | None = None
    findings: list[Finding] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    hardware_fault: str = ""  # evidence: only one of two equal machines diverges from itself with everything fixed
    uninitialised_memory: str = ""  # evidence: memory is read before it is written
    fix: Fix | None = None
    causes_after_transplant: tuple[
        CauseFinding, ...
    ] = ()  # they remain with the first configuration's weights or batches
    transplant_evidence: str = ""

    @property
    def answered(self) -> bool:
        """Whether every factor has a result. If the runs then agree, a cause without a factor is excluded."""
        return bool(self.equalised) and not self.note and all(one.effect is not None for one in self.findings)

    @property
    def acting(self) -> dict[Factor, str]:
        """The factors that make the runs diverge, with the values that make them equal."""
        return {one.factor: one.factor.equal for one in self.findings if one.effect}
