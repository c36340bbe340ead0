"""Searches the settings that remove what makes twins diverge, one cause after the other.

The cheapest decisive experiment comes first: only the setting for the cause that a signature named. If the twins then agree, the cause
is found. If the first difference is gone but the twins still diverge, the setting stays, and the search goes on with what remains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detctl_coordinator.attribution.attribute import causes_of
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import ConfigurationRuns
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.experiments.delta_debugging import smallest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Result, Trial
from detctl_coordinator.attribution.experiments.factors import Factor, masks, sources_of_randomness
from detctl_coordinator.attribution.experiments.releases import find_fix, format_settings, until_compared
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.experiments.twin_divergence import TwinDivergence, pairs_to_compare
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage

TWINS = 3  # runs of a trial that may be random; two would agree at random too often
PAIR = 2  # runs of a trial that need only show that a difference is still there
# Runs of the last trial, which confirms causes. With a 50:50 choice, eight runs agree at random in 1 % of cases.
PROOF_TWINS = 8
PROOF_TWINS_RARE = 12  # if some unchanged twins agree: what makes them diverge is rare
COMPUTED = (Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE)
CAUSES_MAX = 4  # removed one after the other


@dataclass
class TwinSearch:
    """`held`: settings that remove causes, each with the divergence that it ended. `alone`: how the twins diverge with only one setting."""

    runner: ExperimentRunner
    case: Case
    runs: ConfigurationRuns
    round_: Round = field(default_factory=lambda: Round("twins"))
    held: dict[Factor, str] = field(default_factory=dict)
    no_ops: dict[Factor, None] = field(default_factory=dict)
    tried: dict[Factor, None] = field(default_factory=dict)
    failed: dict[Factor, str] = field(default_factory=dict)
    # Setting that was found alone -> (the settings held before it, how the twins diverged with only these).
    earlier: dict[Factor, tuple[dict[Factor, str], TwinDivergence]] = field(default_factory=dict)
    overlaps: dict[Factor, list[Factor]] = field(default_factory=dict)
    # (other settings of a trial, setting): with it the runs still diverge at the same place as with only the others.
    without_effect: dict[tuple[frozenset[Factor], Factor], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spec = self.case.representative(self.runs).run.spec
        self.base = until_compared(self.spec, self.case)
        self.sources = sources_of_randomness(self.spec)
        self.masks = masks(self.spec)

    def run(self) -> TwinDivergence | None:
        """Fills `held` and what else trials showed. Returns how the twins diverge with what is held; None: they agree."""
        before = self.natural()
        self.proof = PROOF_TWINS if before is None or before.always else PROOF_TWINS_RARE
        for _ in range(CAUSES_MAX):
            if before is None or not self._remove_next(before):
                break
            before = self._proved()
        return before

    def _remove_next(self, before: TwinDivergence) -> bool:
        """Adds settings that end or move a divergence to those held. False: none does."""
        named = {cause.cause for cause in self.causes(before.pair)}
        likely = [factor for factor in self.open_of(self.sources) if named & {*factor.confirms}]
        if not self._global_generator(before):  # a private generator is likelier
            likely.sort(key=lambda factor: factor.name == "seed")
        computed = before.first_stage in COMPUTED  # data, states and weights agree: no source of randomness is likely
        hiding = [
            factor
            for factor in self.open_of(self.masks)
            if named & {*factor.confirms} or (computed and "nondeterministic-kernel" in factor.confirms)
        ]
        for factor in likely:  # each decides, so the first that acts ends the search
            if self._keep(before, self._alone(before, [factor])):
                return True
        if hiding and self._keep(before, self._alone(before, hiding)):
            return True
        return self._keep_of_group(before, self.sources, self.sources) or self._keep_of_group(
            before, [*self.sources, *self.masks], self.masks
        )

    def _keep_of_group(self, before: TwinDivergence, group: Sequence[Factor], alone: Sequence[Factor]) -> bool:
        """Tries a group together, then those of `alone` one by one, then the smallest set of the group that acts."""
        if not self.open_of(alone):
            return False
        together = self.trial(self.open_of(group))
        if not self.effect(before, together):
            return False
        if self._keep(before, self._alone(before, self.open_of(alone))):
            return True
        if not self.effect(before, self.trial(self.open_of(group), twins=PROOF_TWINS)):
            return False  # it was luck, and subsets would be tried in vain
        acts = smallest(self.open_of(group), lambda some: self.effect(before, self.trial(some)))
        if not acts:
            return False
        self.held |= {factor: factor.equal for factor in acts}
        return True

    def open_of(self, group: Sequence[Factor]) -> list[Factor]:
        """Returns the settings of a group that may still act."""
        return [one for one in group if one not in self.held and one not in self.no_ops and one not in self.failed]

    def _alone(self, before: TwinDivergence, factors: Sequence[Factor]) -> dict[Factor, bool]:
        """Returns the factors that act alone, beside those held -> whether the twins then agree."""
        found = {}
        for factor, result in zip(factors, self._results([[factor] for factor in factors], TWINS), strict=True):
            if self.effect(before, result):
                found[factor] = bool(self.runner.agree(result))
        return found

    def _keep(self, before: TwinDivergence, acting: Mapping[Factor, bool]) -> bool:
        if not acting:
            return False
        best = max(acting, key=lambda factor: (acting[factor], not factor.masks, factor.name == "deterministic"))
        self.earlier[best] = dict(self.held), before
        self.held[best] = best.equal
        others = [factor for factor, agrees in acting.items() if factor is not best and agrees == acting[best]]
        for other in others:
            self.overlaps.setdefault(other, []).append(best)
            self.overlaps.setdefault(best, []).append(other)
        return True

    def effect(self, before: TwinDivergence, result: Result) -> bool | None:
        """Returns whether the trial's settings end or move a divergence; None: no result."""
        agrees = self.runner.agree(result)
        if agrees is None:
            return None
        after = None if agrees else self._diverged([self.runner.reader(spec) for spec in result.specs])
        acts = after is None or before.moved_by(after)
        if not acts:
            context = frozenset(result.trial.settings) - {*result.trial.released}
            self.without_effect |= dict.fromkeys((context, factor) for factor in result.trial.released)
        return acts

    def _proved(self) -> TwinDivergence | None:
        """Repeats the trial with only the held settings. Returns how the runs diverge; None: all agree."""
        if not self.runner.agree(self.trial([])):
            return self.after(self.trial([]))
        result = self._results([[]], self.proof)[0]
        find_fix(self.runner, self.case, self.round_, (self.base,) * self.proof, {}, dict(self.held))
        self.round_.rows.pop()  # the same trial
        return self.after(result)

    def after(self, result: Result) -> TwinDivergence | None:
        """Returns how the runs of a trial diverge; None: they agree, or there are none."""
        return self._diverged([self.runner.reader(spec) for spec in result.specs]) if not result.problem else None

    def trial(self, factors: Sequence[Factor], kept: Mapping[Factor, str] | None = None, twins: int = TWINS) -> Result:
        """Runs a trial with the held settings and those of a group. kept: instead of the held ones."""
        return self._results([factors], twins, kept)[0]

    def _results(
        self, groups: Sequence[Sequence[Factor]], twins: int, kept: Mapping[Factor, str] | None = None
    ) -> list[Result]:
        """Runs trials with the held settings and those of a group, all in one batch."""
        kept = self.held if kept is None else kept
        trials = []
        for group in groups:
            values = {**kept, **{factor: factor.equal for factor in group}}
            trials.append(Trial(f"Only {format_settings(values)} set", (self.base,) * twins, values, tuple(group)))
        results = self.runner.run(*trials)
        for group, result in zip(groups, results, strict=True):
            self._add_row(self.runner.row(result))
            if result.problem:
                if len(group) == 1:
                    self.failed.setdefault(group[0], result.problem)
                continue
            self.no_ops |= dict.fromkeys(one for one in group if one in result.no_ops)
            self.tried |= dict.fromkeys(group)
        return results

    def _add_row(self, row: dict[str, Any]) -> None:
        """Adds a row. A trial that was repeated with more runs has one row, with all of them."""
        for place, other in enumerate(self.round_.rows):
            if other["set"] == row["set"] and {*other["runs"]} & {*row["runs"]}:
                if len(row["runs"]) > len(other["runs"]):
                    self.round_.rows[place] = row
                return
        self.round_.rows.append(row)

    def natural(self) -> TwinDivergence | None:
        """Returns how the unchanged twins diverge."""
        complete = [reader for reader in self.runs.readers if self.case.is_complete(reader)]
        return (self._diverged(complete) if complete else None) or self._diverged(self.runs.readers)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _diverged(self, readers: Sequence[RunReader]) -> TwinDivergence | None:
        """Returns how runs diverge; None: they agree."""
        pairs = tuple(self.runner.case.pair(*both) for both in pairs_to_compare(readers))
        return TwinDivergence(pairs) if any(pair.different for pair in pairs) else None

    def causes(self, pair: PairComparison) -> list[CauseFinding]:
        facts = [self.runner.case.facts(reader) for reader in (pair.left, pair.right)]
        return causes_of(self.runner.case.compared_as(pair, "twins", facts))

    def _global_generator(self, before: TwinDivergence) -> bool:
        """Returns whether a global generator is known to be unseeded, or its states differ."""
        notes = self.runner.case.facts(before.pair.left).note("unseeded-rng")
        return any(note.raw.get("generator") for note in notes) or any(
            root.node.stage is Stage.RNG for root in before.roots
        )
