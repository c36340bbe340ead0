"""The results of a round of experiments: a finding for each factor, and the cheapest fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.comparison.first_divergent_operation import DivergentOperation
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.domain.verdict import FactorOutcome


def by_experiment(text: str) -> str:
    """Returns a line of evidence from an experiment."""
    return f"Experiment: {text}"


@dataclass(frozen=True)
class Finding:
    """The result of releasing a factor. `effect`: True: it makes the runs diverge, False: it does not, None: no result.

    `acts_with`: factors without which it does not act. `overlaps`: factors that have the same effect, so that the experiments do not
    separate it from them. `calls`: the calls of the program that the intervention replaced. `no_op`: it had nothing to act on.
    `proven`: enough runs agreed with it, so that luck is not the reason. `steady`: without it, all of several pairs of runs diverge.
    `operation`: the operation with equal inputs and different outputs that a mask makes repeatable."""

    factor: Factor
    effect: bool | None
    description: str
    causes: tuple[CauseFinding, ...] = ()
    acts_with: tuple[Factor, ...] = ()
    overlaps: tuple[Factor, ...] = ()
    calls: tuple[str, ...] = ()
    no_op: bool = False
    proven: bool = True
    steady: bool = False
    operation: DivergentOperation | None = None
    runs: int = 0  # runs of the trial that shows it
    at: str = ""  # the difference from which it is excluded, such as `step 0 · backward`; twins only

    @property
    def outcome(self) -> FactorOutcome:
        if self.effect:
            return "acts"
        if self.effect is False:
            return "no-op" if self.no_op else "excluded"
        return "not-separated" if self.overlaps else "no-result"

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
    causes_behind: tuple[CauseFinding, ...] = ()  # twins: causes of what remains once the first difference is gone

    @property
    def answered(self) -> bool:
        """Whether every factor has a result. If the runs then agree, a cause without a factor is excluded."""
        return bool(self.equalised) and not self.note and all(one.outcome != "no-result" for one in self.findings)

    @property
    def acting(self) -> dict[Factor, str]:
        """The factors that make the runs diverge, with the values that make them equal."""
        return {one.factor: one.factor.equal for one in self.findings if one.effect}
