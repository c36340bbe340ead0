"""A round between twins: settings that remove randomness are tried alone, and causes are removed one by one.

The cheapest decisive experiment comes first: only the setting for the cause that a signature named. If the twins then agree, the cause
is found. If the first difference is gone but the twins still diverge, the setting stays, and the search goes on with what remains.
A setting is excluded only if it alone was changed, was in effect, and the twins still diverge at the same place. Two settings that
each suffice are not separated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detctl_coordinator.attribution.attribute import causes_of
from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import ConfigurationRuns
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.evidence.settings.suspects import suspects_of
from detctl_coordinator.attribution.experiments.delta_debugging import smallest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Result, Trial
from detctl_coordinator.attribution.experiments.factors import Factor, masks, sources_of_randomness
from detctl_coordinator.attribution.experiments.releases import find_fix, format_settings, no_op, until_compared
from detctl_coordinator.attribution.experiments.rounds import Finding, Round, by_experiment
from detctl_coordinator.attribution.experiments.twin_divergence import TwinDivergence, pairs_to_compare
from detctl_coordinator.comparison.first_divergent_operation import DivergentOperation
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.comparison.steps.window import finished_steps
from detctl_coordinator.domain.fingerprint import Phase, Stage

TWINS = 3  # runs of a trial that may be random; two would agree at random too often
PAIR = 2  # runs of a trial that need only show that a difference is still there
# Runs of the last trial, which confirms causes. With a 50:50 choice, eight runs agree at random in 1 % of cases.
PROOF_TWINS = 8
PROOF_TWINS_RARE = 12  # if some unchanged twins agree: what makes them diverge is rare
COMPUTED = (Stage.FORWARD, Stage.LOSS, Stage.BACKWARD, Stage.COLLECTIVE, Stage.UPDATE)
CAUSES_MAX = 4  # removed one after the other

NOT_REMOVED = "No setting that detctl has removes what makes the twins diverge, so no cause is confirmed."
BEHIND = "With {settings} the first difference is gone, but the twins still diverge at {place}: there is another cause."


def between_twins(runner: ExperimentRunner, case: Case, runs: ConfigurationRuns) -> Round:
    """Returns what experiments on diverging twins showed. Factors that act are held equal in the later rounds between
    configurations."""
    return _Search(runner, case, runs).run()


@dataclass
class _Search:
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
    earlier: dict[Factor | None, tuple[dict[Factor, str], TwinDivergence]] = field(default_factory=dict)
    overlaps: dict[Factor, list[Factor]] = field(default_factory=dict)
    # (other settings of a trial, setting): with it the runs still diverge at the same place as with only the others.
    without_effect: dict[tuple[frozenset[Factor], Factor], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spec = self.case.representative(self.runs).run.spec
        self.base = until_compared(self.spec, self.case)
        self.sources = sources_of_randomness(self.spec)
        self.masks = masks(self.spec)

    def run(self) -> Round:
        before = self._natural()
        self.proof = PROOF_TWINS if before is None or before.always else PROOF_TWINS_RARE
        for _ in range(CAUSES_MAX):
            if before is None or not self._remove_next(before):
                break
            before = self._proved()
        if not self.held or before is not None:
            self._unresolved(before)
        else:
            self.round_.equalised = True
        if self.held:
            self._report_held(before)
        self._report_others()
        if self.round_.equalised is None and not self.failed:
            self.round_.equalised = False
        return self.round_

    # -- search -------------------------------------------------------------------------------------------------------

    def _remove_next(self, before: TwinDivergence) -> bool:
        """Adds settings that end or move a divergence to those held. False: none does."""
        named = {cause.cause for cause in self._causes(before.pair)}
        likely = [factor for factor in self._open(self.sources) if named & {*factor.confirms}]
        if not self._global_generator(before):  # a private generator is likelier
            likely.sort(key=lambda factor: factor.name == "seed")
        computed = before.first_stage in COMPUTED  # data, states and weights agree: no source of randomness is likely
        hiding = [
            factor
            for factor in self._open(self.masks)
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
        if not self._open(alone):
            return False
        together = self._try(self._open(group))
        if not self._effect(before, together):
            return False
        if self._keep(before, self._alone(before, self._open(alone))):
            return True
        if not self._effect(before, self._try(self._open(group), twins=PROOF_TWINS)):
            return False  # it was luck, and subsets would be tried in vain
        acts = smallest(self._open(group), lambda some: self._effect(before, self._try(some)))
        if not acts:
            return False
        self.held |= {factor: factor.equal for factor in acts}
        return True

    def _open(self, group: Sequence[Factor]) -> list[Factor]:
        return [one for one in group if one not in self.held and one not in self.no_ops and one not in self.failed]

    def _alone(self, before: TwinDivergence, factors: Sequence[Factor]) -> dict[Factor, bool]:
        """Returns the factors that act alone, beside those held -> whether the twins then agree."""
        found = {}
        for factor, result in zip(factors, self._results([[factor] for factor in factors], TWINS), strict=True):
            if self._effect(before, result):
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

    def _effect(self, before: TwinDivergence, result: Result) -> bool | None:
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
        if not self.runner.agree(self._try([])):
            return self._after(self._try([]))
        result = self._results([[]], self.proof)[0]
        find_fix(self.runner, self.case, self.round_, (self.base,) * self.proof, {}, dict(self.held))
        self.round_.rows.pop()  # the same trial
        return self._after(result)

    def _after(self, result: Result) -> TwinDivergence | None:
        return self._diverged([self.runner.reader(spec) for spec in result.specs]) if not result.problem else None

    def _try(self, factors: Sequence[Factor], kept: Mapping[Factor, str] | None = None, twins: int = TWINS) -> Result:
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

    def _natural(self) -> TwinDivergence | None:
        """Returns how the unchanged twins diverge."""
        complete = [reader for reader in self.runs.readers if self.case.is_complete(reader)]
        return (self._diverged(complete) if complete else None) or self._diverged(self.runs.readers)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _diverged(self, readers: Sequence[RunReader]) -> TwinDivergence | None:
        """Returns how runs diverge; None: they agree."""
        pairs = tuple(self.runner.case.pair(*both) for both in pairs_to_compare(readers))
        return TwinDivergence(pairs) if any(pair.different for pair in pairs) else None

    def _causes(self, pair: PairComparison) -> list[CauseFinding]:
        facts = [self.runner.case.facts(reader) for reader in (pair.left, pair.right)]
        return causes_of(self.runner.case.compared_as(pair, "twins", facts))

    def _global_generator(self, before: TwinDivergence) -> bool:
        """Returns whether a global generator is known to be unseeded, or its states differ."""
        notes = self.runner.case.facts(before.pair.left).note("unseeded-rng")
        return any(note.raw.get("generator") for note in notes) or any(
            root.node.stage is Stage.RNG for root in before.roots
        )

    # -- results ------------------------------------------------------------------------------------------------------

    def _report_held(self, left: TwinDivergence | None) -> None:
        """Adds a finding for each held setting: without it, the twins diverge again."""
        for factor in list(self.held):
            kept, without, problem = self._without(factor)
            others = tuple(kept)
            if problem:
                self.round_.findings.append(Finding(factor, None, f"{factor.shown}: {problem}"))
                continue
            if without is None:
                text = f"{factor.shown} is not separated: without it, {_listed(others)} suffices."
                self.round_.findings.append(Finding(factor, None, text, overlaps=others))
                continue
            self.round_.findings.append(self._acting(factor, kept, without, left))

    def _without(self, factor: Factor | None) -> tuple[dict[Factor, str], TwinDivergence | None, str]:
        """Returns (the settings beside a held one, how the runs diverge with only these; None: they agree, why there is no result)."""
        if factor in self.earlier:
            before, diverged = self.earlier[factor]
            # Only what moved a difference that all of several pairs show is sure to act without the settings after it.
            if factor is next(reversed(self.held), None) or (diverged.many and diverged.always):
                return before, diverged, ""
        kept = {one: value for one, value in self.held.items() if one is not factor}
        if not kept:
            return kept, self._natural(), ""
        result = self._try([], kept=kept)
        return kept, self._after(result), result.problem

    def _acting(
        self, factor: Factor, others: Mapping[Factor, str], without: TwinDivergence, left: TwinDivergence | None
    ) -> Finding:
        equal = factor.format_value(factor.equal)
        result = self._try([])
        proved = self._try([], twins=self.proof)
        result = result if proved.problem else proved
        after = self._after(result)
        count = len(result.specs)
        beside = f" beside {format_settings(others)}" if others else ""
        if left is None and factor is next(reversed(self.held)):
            text = f"With {equal}{beside}, {count} of {count} runs agree. Without {equal}, they diverge at {without.place}."
        else:
            text = f"Without {equal}{beside}, the runs diverge at {without.place}. With it, that difference is gone in {count} runs."
        overlapping = tuple(self.overlaps.get(factor, ()))
        if overlapping:
            text += f" {_listed(overlapping)} alone has the same effect, so they are not separated from each other."
        if factor.masks:
            text += f" It masks {factor.masks}."
        operation = self._operation(others, without) if factor.name == "deterministic" else None
        if operation is not None:
            at = f" ({operation.at[0]})" if operation.at else ""
            text += f" {operation.op}{at} gives different outputs for equal inputs."
        if factor.name == "deterministic":
            self.round_.uninitialised_memory = self._reads_uninitialised(without, result)
        if acted_on := self.runner.read_back(factor, result):
            text += f" Report of {equal}: {acted_on}."
        return Finding(
            factor,
            True,
            text,
            tuple(self._causes(without.pair)),
            overlaps=overlapping,
            calls=self.runner.replaced_calls(factor, result),
            proven=not proved.problem and (after is None or (without.many and without.moved_by(after))),
            operation=operation,
            runs=count,
        )

    def _report_others(self) -> None:
        """Adds a finding for each other setting that was tried."""
        for factor in self.no_ops:
            if factor not in self.held:
                self.round_.findings.append(no_op(factor))
        for factor, problem in self.failed.items():
            self.round_.findings.append(Finding(factor, None, f"{factor.shown}: {problem}"))
        for factor in self.tried:
            if factor not in self.held and factor not in self.no_ops and factor not in self.failed:
                self.round_.findings.append(self._other(factor))

    def _other(self, factor: Factor) -> Finding:
        equal = factor.format_value(factor.equal)
        if overlapping := tuple(self.overlaps.get(factor, ())):
            text = f"{factor.shown} is not separated from {_listed(overlapping)}: each alone has the same effect."
            return Finding(factor, None, text, overlaps=overlapping)
        replaced: list[Factor | None] = [*self.held] or [None]
        places: list[str] = []
        for held in replaced:
            kept, before, problem = self._without(held)
            context = frozenset(kept)
            if before is None:
                why = problem or f"the runs agree without {held.shown if held else equal}"
                text = f"{factor.shown} is not separated: {why}."
                return Finding(factor, None, text, overlaps=tuple(self.held))
            places.append(before.place)
            if (context, factor) in self.without_effect:
                continue
            if held is None or not (factor.masks and held.masks):
                text = (
                    f"{equal} alone does not remove the first difference. It is not separated from {_listed(tuple(self.held))}, "
                    "because it was not tried in their place."
                    if self.held
                    else f"{factor.shown}: some runs agree with {equal} and others diverge, which shows nothing."
                )
                return Finding(factor, None, text, overlaps=tuple(self.held))
            result = self._try([factor], kept=kept, twins=PAIR)
            if result.problem:
                return Finding(factor, None, f"{factor.shown} is not separated: {result.problem}", overlaps=(held,))
            if self._effect(before, result):
                text = (
                    f"{factor.shown} is not separated from {held.shown}: set instead of it, it has an effect as well."
                )
                return Finding(factor, None, text, overlaps=(held,))
        at = " and ".join(dict.fromkeys(places))
        instead = f" instead of {' or '.join(one.shown for one in self.held)}" if self.held else ""
        text = (
            f"{factor.shown} is excluded as a cause of the difference at {at}: {equal} was in effect{instead}, "
            "and the runs still diverge there."
        )
        return Finding(factor, False, text, at=at)

    def _unresolved(self, left: TwinDivergence | None) -> None:
        """Reports that the twins still diverge. If nothing acts, an equal machine runs the same trial."""
        round_ = self.round_
        if self.held and left is not None:
            round_.note = BEHIND.format(settings=format_settings(self.held), place=left.place)
            round_.causes_behind = tuple(self._causes(left.pair))
            round_.equalised = False
            return
        round_.note = NOT_REMOVED
        active = self._open([*self.sources, *self.masks])
        peer = _peer(self.case, self.runs)
        if not active or peer is None:
            return
        if self.runner.agree(self._try(active)) is not False:
            return
        other = until_compared(self.case.representative(peer).run.spec, self.case)
        values = {factor: factor.equal for factor in active}
        description = f"Only {format_settings(values)} set, on {other.arm.machine}"
        on_peer = self.runner.run(Trial(description, (other,) * TWINS, values))[0]
        round_.rows.append(self.runner.row(on_peer))
        if self.runner.agree(on_peer):
            round_.hardware_fault = by_experiment(
                "With seeds, identity, threads and workers fixed and deterministic algorithms on, "
                f"{TWINS} new runs on {self.spec.arm.machine} still diverge, while {TWINS} runs on {other.arm.machine} are identical. "
                "No recorded fact of the two environments differs."
            )

    def _operation(self, others: Mapping[Factor, str], without: TwinDivergence) -> DivergentOperation | None:
        """Returns the operation that gives different outputs for equal inputs in the runs without a mask; None: none was found."""
        return self.runner.first_operation(self.base, others, without.step, self.round_.rows)

    def _reads_uninitialised(self, without: TwinDivergence, filled: Result) -> str:
        return _reads_uninitialised(without.pair.left, self.runner.reader(filled.specs[0]))


def _listed(factors: Sequence[Factor]) -> str:
    return " and ".join(factor.format_value(factor.equal) for factor in factors)


def _reads_uninitialised(native: RunReader, filled: RunReader) -> str:
    """Returns a line of evidence if the loss is NaN only under deterministic algorithms, else nothing. They fill new memory
    with NaN, so the training reads memory before it writes it."""
    step, before = _first_nan(filled), _first_nan(native)
    if step is None or (before is not None and before <= step):
        return ""
    return by_experiment(
        f"With deterministic=on, which fills new memory with NaN, the loss is NaN from step {step} on. "
        "Without it, the loss is a number there."
    )


def _first_nan(reader: RunReader) -> int | None:
    keys = [key for key in reader.streams() if key.stage is Stage.LOSS and key.phase is Phase.TRAIN]
    for step in range(finished_steps(reader)):
        sketches = [record.sketch for key in keys for record in reader.records(key, step)]
        if any(sketch is not None and sketch[0] > 0 for sketch in sketches):  # the first number of a sketch counts NaN
            return step
    return None


def _peer(case: Case, runs: ConfigurationRuns) -> ConfigurationRuns | None:
    """Returns a reproducible configuration of another machine whose known facts are the same; None: there is none."""
    mine = case.representative(runs)
    for other in case.configurations:
        theirs = case.representative(other)
        if other.machine == runs.machine or not case.reproducible(other):
            continue
        specs = mine.run.spec, theirs.run.spec
        if not suspects_of(case.facts(mine).manifest, case.facts(theirs).manifest, *specs):
            return other
    return None
