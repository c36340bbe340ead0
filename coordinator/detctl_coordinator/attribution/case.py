"""The runs of an audit with everything derived from them: comparisons, groups and causes. Pure: readers are passed in.

Results are computed on first use and then kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from detctl_coordinator.attribution.attribute import ComparedPair, causes_of, merge
from detctl_coordinator.attribution.completeness import RunCompleteness, check_completeness
from detctl_coordinator.attribution.configurations import ConfigurationRuns, label_runs, sort_by_configuration
from detctl_coordinator.attribution.evidence.cause_finding import CauseFinding
from detctl_coordinator.attribution.evidence.facts import manifest_of, notes_of
from detctl_coordinator.attribution.evidence.pair_evidence import RunFacts
from detctl_coordinator.attribution.measured.closer_look import Looked
from detctl_coordinator.comparison.groups import Groups, group_runs
from detctl_coordinator.comparison.pair import PairComparison, compare_pair
from detctl_coordinator.comparison.pairing import Scope, pair_configurations
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.steps.window import common_steps, known_steps
from detctl_coordinator.domain.fingerprint import Stage


@dataclass(frozen=True)
class JudgeRequest:
    """The runs to judge. `problems`: run id -> problems found by storage or the lifecycle; such a run is unverified.
    `damaged`: ids of runs whose stored data must not be compared. `twins`: planned runs of each configuration, 0: unknown.
    `planned`: labels of all planned runs; empty: those of `readers`. `labels`: run id -> displayed name.
    `stopped_by`: id of the run whose failure cancelled `not_run` others, which are not among `readers`. `requested_by`: name
    of the user who started the audit; empty: there is no audit. `strict`: a difference
    in evaluation decides, also if the training agrees. `looked`: what a zoom showed."""

    audit_id: str
    recipe: str
    readers: tuple[RunReader, ...]
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    machines: tuple[str, ...] = ()
    window: tuple[int, int | None] = (0, 32)
    varied: bool = False
    damaged: frozenset[str] = frozenset()
    twins: int = 0
    planned: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stopped_by: str = ""
    not_run: int = 0
    requested_by: str = ""
    strict: bool = False
    looked: Looked | None = None


@dataclass
class Case:
    """A request and everything derived from it."""

    request: JudgeRequest
    damage_reasons: list[str] = field(default_factory=list)  # damage found while looking for causes
    _pairs: dict[tuple[str, str], PairComparison] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Run id -> label."""
        return label_runs(self.request.readers, self.request.labels)

    def label(self, reader: RunReader) -> str:
        return self.labels[reader.run.spec.run_id]

    @cached_property
    def completeness(self) -> dict[str, RunCompleteness]:
        """Run id -> whether the run is complete, or why not."""
        request = self.request
        return {
            r.run.spec.run_id: check_completeness(
                r, self.label(r), request.window, request.problems.get(r.run.spec.run_id, ())
            )
            for r in request.readers
        }

    def is_complete(self, reader: RunReader) -> bool:
        return self.completeness[reader.run.spec.run_id].complete

    @cached_property
    def comparable(self) -> list[RunReader]:
        """Runs with data that is not damaged."""
        return [
            r
            for r in self.request.readers
            if (found := self.completeness[r.run.spec.run_id]).has_data
            and not found.damaged
            and r.run.spec.run_id not in self.request.damaged
        ]

    @cached_property
    def configurations(self) -> list[ConfigurationRuns]:
        return sort_by_configuration(self.comparable)

    @cached_property
    def limit(self) -> int | None:
        """The number of steps that all complete runs share; None: all of them, to the end."""
        return common_steps(known_steps(r) for r in self.comparable if self.is_complete(r))

    def pair(self, a: RunReader, b: RunReader) -> PairComparison:
        """Compares two runs, once. A damaged record makes the pair incomparable."""
        key = (a.run.spec.run_id, b.run.spec.run_id)
        if key not in self._pairs:
            try:
                self._pairs[key] = compare_pair(a, b, self.limit, strict=self.request.strict)
            except DamagedError as error:
                self._pairs[key] = PairComparison(a, b, incomparable=f"stored data is damaged ({error}); run it again")
        return self._pairs[key]

    def _either_way(self, a: RunReader, b: RunReader) -> PairComparison:
        """Returns the comparison in whichever order it exists already."""
        known = self._pairs.get((b.run.spec.run_id, a.run.spec.run_id))
        return known or self.pair(a, b)

    @cached_property
    def groups(self) -> tuple[Groups, dict[Stage, Groups]]:
        return group_runs(self.comparable, self._either_way)

    def facts(self, reader: RunReader) -> RunFacts:
        return RunFacts(self.label(reader), reader.run.spec.arm.machine, manifest_of(reader), tuple(notes_of(reader)))

    def representative(self, runs: ConfigurationRuns) -> RunReader:
        """Returns the first complete run of a configuration, or its first run if none is complete."""
        return next((r for r in runs.readers if self.is_complete(r)), runs.readers[0])

    @cached_property
    def twin_pairs(self) -> list[tuple[ConfigurationRuns, PairComparison]]:
        """The representative of each configuration, compared with each of its twins."""
        found = []
        for runs in self.configurations:
            first = self.representative(runs)
            found += [(runs, self.pair(first, other)) for other in runs.readers if other is not first]
        return found

    def between(self, a: ConfigurationRuns, b: ConfigurationRuns) -> PairComparison:
        """Returns the comparison of the representatives of two configurations."""
        return self._either_way(self.representative(a), self.representative(b))

    def reproducible(self, runs: ConfigurationRuns) -> bool | None:
        """Returns whether the twins of a configuration agree; None: fewer than two are complete and none differs."""
        pairs = [pair for twins, pair in self.twin_pairs if twins is runs]
        if any(pair.different for pair in pairs):
            return False
        return True if sum(self.is_complete(r) for r in runs.readers) > 1 else None

    @cached_property
    def configuration_pairs(self) -> list[tuple[ConfigurationRuns, ConfigurationRuns, Scope, PairComparison]]:
        configurations = self.configurations
        found = []
        for p in pair_configurations([runs.configuration for runs in configurations]):
            left, right = configurations[p.left], configurations[p.right]
            found.append((left, right, p.scope, self.pair(self.representative(left), self.representative(right))))
        return found

    @cached_property
    def causes(self) -> list[CauseFinding]:
        found: list[CauseFinding] = []
        seen: set[int] = set()
        for runs, pair in self.twin_pairs:
            if pair.different and id(runs) not in seen:  # further twins would repeat the same cause
                seen.add(id(runs))
                others = [self.reproducible(a) for a in self.configurations if a.machine != runs.machine]
                others_agree = bool(others) and all(others)
                found += self._causes_of(self._compared(pair, "twins", False, others_agree, frozenset()))
        for left, right, scope, pair in self.configuration_pairs:
            if pair.different:
                twins = [self.reproducible(left), self.reproducible(right)]
                agree = False if False in twins else True if twins == [True, True] else None
                pair = self._without_noise(pair, left, right)
                found += self._causes_of(self._compared(pair, scope, agree, False, self._by_twins(left, right)))
        return merge(found)

    def causes_in_evaluation(self, pair: PairComparison) -> list[CauseFinding]:
        """Returns what leads to differences in evaluation of two runs that trained alike."""
        if pair.different or pair.incomparable or not any(d.evaluation for d in pair.differences.values()):
            return []
        twins = any(pair is other for _, other in self.twin_pairs)
        scope = next((scope for *_, scope, other in self.configuration_pairs if other is pair), None)
        if not twins and scope is None:
            return []
        counted = pair.with_evaluation()
        return self._causes_of(self._compared(counted, scope or "twins", not twins, False, frozenset()))

    def _causes_of(self, compared: ComparedPair) -> list[CauseFinding]:
        try:
            return causes_of(compared)
        except DamagedError as error:
            self.damage_reasons.append(
                f"{compared.left.label} and {compared.right.label}: causes unknown: stored data is damaged ({error}); run them again"
            )
            return []

    def _without_noise(self, pair: PairComparison, *configurations: ConfigurationRuns) -> PairComparison:
        """Leaves out differences that twins also show without effect: they explain nothing between configurations."""
        noise = {
            d.node for runs, twin in self.twin_pairs if any(runs is a for a in configurations) for d in twin.benign
        }
        kept = {node: d for node, d in pair.differences.items() if node not in noise}
        return pair if len(kept) == len(pair.differences) else replace(pair, differences=kept)

    def _by_twins(self, *configurations: ConfigurationRuns) -> frozenset[Node]:
        return frozenset(
            node
            for runs, pair in self.twin_pairs
            if any(runs is a for a in configurations)
            for node in pair.differences
        )

    def compared_as(self, pair: PairComparison, scope: Scope, facts: Sequence[RunFacts]) -> ComparedPair:
        """Returns a pair of single runs for attribution. Unless they are twins, their configurations count as reproducible."""
        return ComparedPair(pair, scope, facts[0], facts[1], scope != "twins", looked=self.request.looked)

    def _compared(
        self, pair: PairComparison, scope: Scope, agree: bool | None, others_agree: bool, by_twins: frozenset[Node]
    ) -> ComparedPair:
        facts = self.facts(pair.left), self.facts(pair.right)
        return ComparedPair(pair, scope, *facts, agree, others_agree, by_twins, self.request.looked)

    def with_closer_look(self, looked: Looked | None) -> Case:
        """Returns the case with a zoom as evidence. Pairs are not compared again."""
        return self if looked is None else Case(replace(self.request, looked=looked), _pairs=self._pairs)

    @cached_property
    def compared(self) -> list[PairComparison]:
        """All pairs that decide the outcome: first twins, then configurations."""
        return [pair for _, pair in self.twin_pairs] + [pair for *_, pair in self.configuration_pairs]
