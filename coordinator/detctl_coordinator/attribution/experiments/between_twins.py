"""A round between twins: settings that remove randomness are tried alone, and causes are removed one by one (twin_search.py).

A setting is excluded only if it alone was changed, was in effect, and the twins still diverge at the same place. Two settings that
each suffice are not separated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.configurations import ConfigurationRuns
from detctl_coordinator.attribution.evidence.settings.suspects import suspects_of
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, Trial
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.experiments.releases import format_settings, no_op, until_compared
from detctl_coordinator.attribution.experiments.rounds import Finding, Round, by_experiment
from detctl_coordinator.attribution.experiments.twin_divergence import TwinDivergence
from detctl_coordinator.attribution.experiments.twin_search import PAIR, TWINS, TwinSearch
from detctl_coordinator.attribution.experiments.uninitialised_memory import reads_uninitialised
from detctl_coordinator.comparison.first_divergent_operation import DivergentOperation

NOT_REMOVED = "No setting that detctl has removes what makes the twins diverge, so no cause is confirmed."
BEHIND = "With {settings} the first difference is gone, but the twins still diverge at {place}: there is another cause."


def between_twins(runner: ExperimentRunner, case: Case, runs: ConfigurationRuns) -> Round:
    """Returns what experiments on diverging twins showed. Factors that act are held equal in the later rounds between
    configurations."""
    search = TwinSearch(runner, case, runs)
    _Findings(search).add(search.run())
    return search.round_


class _Findings:
    """What the search showed of each setting."""

    def __init__(self, search: TwinSearch) -> None:
        self.search = search
        self.runner, self.case, self.round_, self.held = search.runner, search.case, search.round_, search.held

    def add(self, left: TwinDivergence | None) -> None:
        """Adds the findings to the round. left: how the twins diverge with what is held; None: they agree."""
        if not self.held or left is not None:
            self._unresolved(left)
        else:
            self.round_.equalised = True
        if self.held:
            self._report_held(left)
        self._report_others()
        if self.round_.equalised is None and not self.search.failed:
            self.round_.equalised = False

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

    def _without(self, factor: Factor) -> tuple[dict[Factor, str], TwinDivergence | None, str]:
        """Returns (the settings beside a held one, how the runs diverge with only these; None: they agree, why there is no result)."""
        if factor in self.search.earlier:
            before, diverged = self.search.earlier[factor]
            # Only what moved a difference that all of several pairs show is sure to act without the settings after it.
            if factor is next(reversed(self.held), None) or (diverged.many and diverged.always):
                return before, diverged, ""
        kept = {one: value for one, value in self.held.items() if one is not factor}
        if not kept:
            return kept, self.search.natural(), ""
        result = self.search.trial([], kept=kept)
        return kept, self.search.after(result), result.problem

    def _acting(
        self, factor: Factor, others: Mapping[Factor, str], without: TwinDivergence, left: TwinDivergence | None
    ) -> Finding:
        equal = factor.format_value(factor.equal)
        result = self.search.trial([])
        proved = self.search.trial([], twins=self.search.proof)
        result = result if proved.problem else proved
        after = self.search.after(result)
        count = len(result.specs)
        beside = f" beside {format_settings(others)}" if others else ""
        if left is None and factor is next(reversed(self.held)):
            text = f"With {equal}{beside}, {count} of {count} runs agree. Without {equal}, they diverge at {without.place}."
        else:
            text = f"Without {equal}{beside}, the runs diverge at {without.place}. With it, that difference is gone in {count} runs."
        overlapping = tuple(self.search.overlaps.get(factor, ()))
        if overlapping:
            text += f" {_listed(overlapping)} alone has the same effect, so they are not separated from each other."
        if factor.masks:
            text += f" It masks {factor.masks}."
        operation = self._operation(others, without) if factor.name == "deterministic" else None
        if operation is not None:
            at = f" ({operation.at[0]})" if operation.at else ""
            text += f" {operation.op}{at} gives different outputs for equal inputs."
        if factor.name == "deterministic":
            filled = self.runner.reader(result.specs[0])
            self.round_.uninitialised_memory = reads_uninitialised(without.pair.left, filled)
        if acted_on := self.runner.read_back(factor, result):
            text += f" Report of {equal}: {acted_on}."
        return Finding(
            factor,
            True,
            text,
            tuple(self.search.causes(without.pair)),
            overlaps=overlapping,
            calls=self.runner.replaced_calls(factor, result),
            steady=without.many and without.always,
            proven=not proved.problem and (after is None or (without.many and without.moved_by(after))),
            operation=operation,
            runs=count,
        )

    def _report_others(self) -> None:
        """Adds a finding for each other setting that was tried."""
        for factor in self.search.no_ops:
            if factor not in self.held:
                self.round_.findings.append(no_op(factor))
        for factor, problem in self.search.failed.items():
            self.round_.findings.append(Finding(factor, None, f"{factor.shown}: {problem}"))
        for factor in self.search.tried:
            if factor not in self.held and factor not in self.search.no_ops and factor not in self.search.failed:
                self.round_.findings.append(self._other(factor))

    def _other(self, factor: Factor) -> Finding:
        equal = factor.format_value(factor.equal)
        if overlapping := tuple(self.search.overlaps.get(factor, ())):
            text = f"{factor.shown} is not separated from {_listed(overlapping)}: each alone has the same effect."
            return Finding(factor, None, text, overlaps=overlapping)
        if not self.held:
            return Finding(factor, None, self._of_none_held(factor))
        places: list[str] = []
        for held in self.held:
            kept, before, problem = self._without(held)
            context = frozenset(kept)
            if before is None:
                why = problem or f"the runs agree without {held.shown}"
                text = f"{factor.shown} is not separated: {why}."
                return Finding(factor, None, text, overlaps=tuple(self.held))
            places.append(before.place)
            if (context, factor) in self.search.without_effect:
                continue
            if not (factor.masks and held.masks):
                text = (
                    f"{equal} alone does not remove the first difference. It is not separated from {_listed(tuple(self.held))}, "
                    "because it was not tried in their place."
                )
                return Finding(factor, None, text, overlaps=tuple(self.held))
            result = self.search.trial([factor], kept=kept, twins=PAIR)
            if result.problem:
                return Finding(factor, None, f"{factor.shown} is not separated: {result.problem}", overlaps=(held,))
            if self.search.effect(before, result):
                text = (
                    f"{factor.shown} is not separated from {held.shown}: set instead of it, it has an effect as well."
                )
                return Finding(factor, None, text, overlaps=(held,))
        at = " and ".join(dict.fromkeys(places))
        instead = f" instead of {' or '.join(one.shown for one in self.held)}"
        text = (
            f"{factor.shown} is excluded as a cause of the difference at {at}: {equal} was in effect{instead}, "
            "and the runs still diverge there."
        )
        return Finding(factor, False, text, at=at)

    def _of_none_held(self, factor: Factor) -> str:
        """Returns what is known of a setting while no setting ends the difference. Several causes may enter there, so none is excluded."""
        equal = factor.format_value(factor.equal)
        before = self.search.natural()
        if before is None:
            return f"{factor.shown} is not separated: the runs agree without {equal}."
        if (frozenset(), factor) in self.search.without_effect:
            return (
                f"{factor.shown} is not excluded: with {equal} alone the runs still diverge at {before.place}, where another cause may "
                "enter as well."
            )
        return f"{factor.shown}: some runs agree with {equal} and others diverge, which shows nothing."

    def _unresolved(self, left: TwinDivergence | None) -> None:
        """Reports that the twins still diverge. If nothing acts, an equal machine runs the same trial."""
        round_ = self.round_
        if self.held and left is not None:
            round_.note = BEHIND.format(settings=format_settings(self.held), place=left.place)
            round_.causes_behind = tuple(self.search.causes(left.pair))
            round_.equalised = False
            return
        round_.note = NOT_REMOVED
        active = self.search.open_of([*self.search.sources, *self.search.masks])
        peer = _peer(self.case, self.search.runs)
        if not active or peer is None:
            return
        if self.runner.agree(self.search.trial(active)) is not False:
            return
        other = until_compared(self.case.representative(peer).run.spec, self.case)
        values = {factor: factor.equal for factor in active}
        description = f"Only {format_settings(values)} set, on {other.arm.machine}"
        on_peer = self.runner.run(Trial(description, (other,) * TWINS, values))[0]
        round_.rows.append(self.runner.row(on_peer))
        if self.runner.agree(on_peer):
            round_.hardware_fault = by_experiment(
                "With seeds, identity, threads and workers fixed and deterministic algorithms on, "
                f"{TWINS} new runs on {self.search.spec.arm.machine} still diverge, "
                f"while {TWINS} runs on {other.arm.machine} are identical. No recorded fact of the two environments differs."
            )

    def _operation(self, others: Mapping[Factor, str], without: TwinDivergence) -> DivergentOperation | None:
        """Returns the operation that gives different outputs for equal inputs in the runs without a mask; None: none was found."""
        return self.runner.first_operation(self.search.base, others, without.step, self.round_.rows)


def _listed(factors: Sequence[Factor]) -> str:
    return " and ".join(factor.format_value(factor.equal) for factor in factors)


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
