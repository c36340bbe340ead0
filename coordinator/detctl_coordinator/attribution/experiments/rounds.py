"""What a round of experiments showed: a finding for each factor, and the cheapest fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from detctl_coordinator.attribution.evidence.evidence import CauseFinding
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.comparison.pairing import Scope


def by_experiment(words: str) -> str:
    """A line of evidence that an experiment gave."""
    return f"experiment: {words}"


@dataclass(frozen=True)
class Finding:
    """What a release showed. effect: True it makes the runs diverge, False it is excluded, None: shows nothing. `words`: for people.
    `with_`: factors without which it does not act. `calls`: the program's calls that the factor read back as replaced while it held."""

    factor: Factor
    effect: bool | None
    words: str
    causes: tuple[CauseFinding, ...] = ()
    with_: tuple[Factor, ...] = ()
    calls: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """The line of evidence for a cause that it confirms."""
        return by_experiment(self.words)

    @property
    def confirmed_by(self) -> Literal["swap", "equalised"]:
        return "swap" if self.factor.swaps else "equalised"


@dataclass(frozen=True)
class Fix:
    """What restores equality with nothing else set. cost: share of step time, against the arms as they are (0.14: 14 % more), None: not
    measured; over how many `steps`; scatter: share by which the slowest run of an arm as it is exceeds its quickest."""

    values: Mapping[Factor, str]
    suffices: bool
    cost: float | None
    scatter: float
    steps: int


@dataclass
class Round:
    """One peel. equalised: whether the runs agree under E*, None: not shown. `note`: why nothing more is shown."""

    scope: Scope
    equalised: bool | None = None
    findings: list[Finding] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    fault: str = ""  # one machine at odds with itself and not with its peer, with all held equal
    unfilled: str = ""  # memory is read that nobody has filled
    fix: Fix | None = None
    behind: tuple[CauseFinding, ...] = ()  # what parts the arms with the same initial weights
    behind_words: str = ""

    @property
    def answered(self) -> bool:
        """Each factor had its answer, so a cause that no factor stands for is gone where the runs agree."""
        return bool(self.equalised) and not self.note and all(one.effect is not None for one in self.findings)

    @property
    def acting(self) -> dict[Factor, str]:
        """The equal values of what parts the runs."""
        return {one.factor: one.factor.equal for one in self.findings if one.effect}
