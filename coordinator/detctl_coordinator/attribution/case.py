"""The runs of an audit with everything that is found out about them: comparisons, groups, causes. Pure, given readers.

Nothing is computed before it is needed, and nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from detctl_coordinator.attribution.attribute import ComparedPair, causes_of, merge
from detctl_coordinator.attribution.completeness import Soundness, check_run
from detctl_coordinator.attribution.configurations import RunArm, label_runs, sort_into_arms
from detctl_coordinator.attribution.evidence.evidence import CauseFinding, RunFacts
from detctl_coordinator.attribution.evidence.facts import manifest_of, notes_of
from detctl_coordinator.comparison.groups import Groups, group_runs
from detctl_coordinator.comparison.pair import PairComparison, compare_pair
from detctl_coordinator.comparison.pairing import Scope, pair_arms
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.comparison.roots import Node
from detctl_coordinator.comparison.steps.window import common_steps, known_steps
from detctl_coordinator.domain.fingerprint import Stage


@dataclass(frozen=True)
class JudgeRequest:
    """What to judge. `problems`: run id -> lines that storage's verify or the lifecycle found; such a run is unverified.
    `damaged`: run ids whose stored data must not be compared. `twins`: how many each arm was to have, 0: not said.
    `planned`: labels of the runs that the audit planned, empty: those of `readers`. `labels`: run id -> shown name."""

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


@dataclass
class Case:
    """The request with everything found out about it; computed on demand, each comparison once."""

    request: JudgeRequest
    trouble: list[str] = field(default_factory=list)  # damage met while looking for causes
    _pairs: dict[tuple[str, str], PairComparison] = field(default_factory=dict)

    @cached_property
    def labels(self) -> dict[str, str]:
        return label_runs(self.request.readers, self.request.labels)

    def label(self, reader: RunReader) -> str:
        return self.labels[reader.run.spec.run_id]

    @cached_property
    def soundness(self) -> dict[str, Soundness]:
        request = self.request
        return {
            r.run.spec.run_id: check_run(r, self.label(r), request.window, request.problems.get(r.run.spec.run_id, ()))
            for r in request.readers
        }

    def sound(self, reader: RunReader) -> bool:
        return self.soundness[reader.run.spec.run_id].sound

    @cached_property
    def comparable(self) -> list[RunReader]:
        """Runs whose data may be compared: it is there and not damaged."""
        return [
            r
            for r in self.request.readers
            if (found := self.soundness[r.run.spec.run_id]).has_data
            and not found.damaged
            and r.run.spec.run_id not in self.request.damaged
        ]

    @cached_property
    def arms(self) -> list[RunArm]:
        return sort_into_arms(self.comparable)

    @cached_property
    def limit(self) -> int | None:
        """The steps that all sound runs share."""
        return common_steps(known_steps(r) for r in self.comparable if self.sound(r))

    def pair(self, a: RunReader, b: RunReader) -> PairComparison:
        """Compared once; a damaged record found on the way makes the pair incomparable."""
        key = (a.run.spec.run_id, b.run.spec.run_id)
        if key not in self._pairs:
            try:
                self._pairs[key] = compare_pair(a, b, self.limit)
            except DamagedError as error:
                self._pairs[key] = PairComparison(a, b, incomparable=f"stored data is damaged ({error}); run it again")
        return self._pairs[key]

    def _either_way(self, a: RunReader, b: RunReader) -> PairComparison:
        """For questions that do not care which run comes first."""
        known = self._pairs.get((b.run.spec.run_id, a.run.spec.run_id))
        return known or self.pair(a, b)

    @cached_property
    def groups(self) -> tuple[Groups, dict[Stage, Groups]]:
        return group_runs(self.comparable, self._either_way)

    def facts(self, reader: RunReader) -> RunFacts:
        return RunFacts(self.label(reader), reader.run.spec.arm.machine, manifest_of(reader), tuple(notes_of(reader)))

    def representative(self, arm: RunArm) -> RunReader:
        """The first sound run of an arm, else its first."""
        return next((r for r in arm.readers if self.sound(r)), arm.readers[0])

    @cached_property
    def twin_pairs(self) -> list[tuple[RunArm, PairComparison]]:
        """For each arm its first run against every other one."""
        found = []
        for arm in self.arms:
            first = self.representative(arm)
            found += [(arm, self.pair(first, other)) for other in arm.readers if other is not first]
        return found

    def between(self, a: RunArm, b: RunArm) -> PairComparison:
        """Of the runs that stand for two arms."""
        return self._either_way(self.representative(a), self.representative(b))

    def repeats(self, arm: RunArm) -> bool | None:
        """Whether the twins of an arm agree; None: fewer than two sound ones and no difference."""
        pairs = [pair for of, pair in self.twin_pairs if of is arm]
        if any(pair.different for pair in pairs):
            return False
        return True if sum(self.sound(r) for r in arm.readers) > 1 else None

    @cached_property
    def arm_pairs(self) -> list[tuple[RunArm, RunArm, Scope, PairComparison]]:
        arms = self.arms
        found = []
        for p in pair_arms([arm.arm for arm in arms]):
            left, right = arms[p.left], arms[p.right]
            found.append((left, right, p.scope, self.pair(self.representative(left), self.representative(right))))
        return found

    @cached_property
    def causes(self) -> list[CauseFinding]:
        found: list[CauseFinding] = []
        seen: set[int] = set()
        for arm, pair in self.twin_pairs:
            if pair.different and id(arm) not in seen:  # the other twins of the arm would only repeat it
                seen.add(id(arm))
                others = [self.repeats(a) for a in self.arms if a.arm.machine != arm.arm.machine]
                elsewhere = bool(others) and all(others)
                found += self._causes_of(self._compared(pair, "twins", False, elsewhere, frozenset()))
        for left, right, scope, pair in self.arm_pairs:
            if pair.different:
                repeats = [self.repeats(left), self.repeats(right)]
                agree = False if False in repeats else True if repeats == [True, True] else None
                pair = self._without_noise(pair, left, right)
                found += self._causes_of(self._compared(pair, scope, agree, False, self._by_twins(left, right)))
        return merge(found)

    def _causes_of(self, compared: ComparedPair) -> list[CauseFinding]:
        try:
            return causes_of(compared)
        except DamagedError as error:
            self.trouble.append(
                f"{compared.left.label} and {compared.right.label}: causes not told, stored data is damaged ({error}); run it again"
            )
            return []

    def _without_noise(self, pair: PairComparison, *arms: RunArm) -> PairComparison:
        """Leaves out what differs between twins too and was harmless there: it explains nothing between arms."""
        noise = {d.node for arm, twin in self.twin_pairs if any(arm is a for a in arms) for d in twin.benign}
        kept = {node: d for node, d in pair.differences.items() if node not in noise}
        return pair if len(kept) == len(pair.differences) else replace(pair, differences=kept)

    def _by_twins(self, *arms: RunArm) -> frozenset[Node]:
        return frozenset(
            node for arm, pair in self.twin_pairs if any(arm is a for a in arms) for node in pair.differences
        )

    def compared_as(self, pair: PairComparison, scope: Scope, facts: Sequence[RunFacts]) -> ComparedPair:
        """A pair of single runs as attribution takes it; the arms of runs that are no twins repeat themselves."""
        return ComparedPair(pair, scope, facts[0], facts[1], scope != "twins")

    def _compared(
        self, pair: PairComparison, scope: Scope, agree: bool | None, elsewhere: bool, by_twins: frozenset[Node]
    ) -> ComparedPair:
        return ComparedPair(pair, scope, self.facts(pair.left), self.facts(pair.right), agree, elsewhere, by_twins)

    @cached_property
    def compared(self) -> list[PairComparison]:
        """All pairs that decide the outcome: twins, then arms."""
        return [pair for _, pair in self.twin_pairs] + [pair for *_, pair in self.arm_pairs]
