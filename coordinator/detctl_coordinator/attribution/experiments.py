"""Causes confirmed by experiment: runs that part are repeated with settings made equal. Pure, given readers.

First everything that can be set is made equal, to the first arm's values (E*). Where the runs then agree, each factor is released by
itself. Between two arms both get the second arm's value: if both then part from E* and agree with each other, the value alone decides on
either machine: confirmed by *swap*; if nothing changes, the factor is excluded. An order of listings, and what twins draw by chance, is
released by leaving it as it is: if the runs part, *equalised* confirms it, since all else was equal. Nothing counts that was not read
back; where E* does not agree, nothing is confirmed. Where E* only says aloud what the first arm has anyway, it is the sham: it must
change nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from detctl_coordinator.attribution.attribute import causes_of
from detctl_coordinator.attribution.evidence import CauseFinding
from detctl_coordinator.attribution.factors import Factor, chances, factors_of
from detctl_coordinator.attribution.facts import interventions_of, manifest_of
from detctl_coordinator.attribution.suspects import suspects_of
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.pairing import Scope
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.fingerprint import Stage
from detctl_coordinator.domain.run import Purpose, RunSpec

if TYPE_CHECKING:
    from detctl_coordinator.attribution.judge import Case

PURPOSE: Purpose = "experiment"
FACTORS_MAX = 14  # two runs each, and two for E*: thirty experiments
TWINS = 3  # runs of a trial where chance is at work: two agree by chance too often


@dataclass(frozen=True)
class Design:
    """What can be tried: specs of the runs of a trial (two arms, or twins of one), the factors, and up to which step (exclusive)."""

    specs: tuple[RunSpec, ...]
    scope: Scope
    factors: tuple[Factor, ...]
    step_to: int | None


@dataclass(frozen=True)
class Trial:
    """Runs that should agree. `factor`: the one that is released, None: E*."""

    factor: Factor | None
    specs: tuple[RunSpec, ...]

    @property
    def words(self) -> str:
        if self.factor is None:
            return "all that can be set is equal"
        if not self.factor.swaps:
            return f"all else equal, {self.factor.shown} left as it is"
        return f"all else equal, {self.factor.value_words(self.factor.released)} on both"


@dataclass(frozen=True)
class Finding:
    """What a release showed. effect: True it parts the runs, False it is excluded, None: shows nothing."""

    factor: Factor
    effect: bool | None
    words: str
    causes: tuple[CauseFinding, ...] = ()

    @property
    def confirmed_by(self) -> Literal["swap", "equalised"]:
        return "swap" if self.factor.swaps else "equalised"


def design_of(case: Case) -> Design | None:
    """The first arm whose twins differ; else the first two arms that differ while the twins of each agree; None: nothing can be set."""
    for _, pair in case.twin_pairs:
        if pair.different:
            spec = pair.left.run.spec
            found = chances(spec)
            return Design((spec,) * TWINS, "twins", tuple(found), _end(case, spec)) if found else None
    for left, right, scope, pair in case.arm_pairs:
        if not pair.different or scope == "runs" or not (case.repeats(left) and case.repeats(right)):
            continue
        facts = case.facts(pair.left), case.facts(pair.right)
        ours, theirs = pair.left.run.spec, pair.right.run.spec
        suspects = suspects_of(facts[0].manifest, facts[1].manifest, ours, theirs)
        lists = any(node.stage is Stage.LISTING for node in pair.differences)
        found = factors_of(suspects, *facts, lists=lists)[:FACTORS_MAX]
        if found:
            return Design((ours, theirs), scope, tuple(found), _end(case, ours))
    return None


def _end(case: Case, spec: RunSpec) -> int | None:
    """Runs are short: up to the last step that was compared."""
    return case.limit if case.limit is not None else spec.step_to


def trials(design: Design, audit_id: str, number: int) -> list[Trial]:
    """E* and the releases, in order; their runs are numbered from `number` on."""
    made: list[Trial] = []
    for released in (None, *design.factors):
        specs: list[RunSpec] = []
        for spec in design.specs:
            for factor in design.factors:
                spec = factor.applied(spec, factor.released if factor is released else factor.equal)
            place = len(design.specs) * len(made) + len(specs)
            specs.append(
                replace(
                    spec,
                    run_id=f"{audit_id}.{number + place:03d}",
                    twin=place if design.scope == "twins" else len(made),
                    step_to=design.step_to,
                    purpose=PURPOSE,
                )
            )
        made.append(Trial(released, tuple(specs)))
    return made


class Reading:
    """The trials that were run, read. `case`: of all their runs, and of the first arm's own run."""

    def __init__(self, case: Case, design: Design, done: Sequence[Trial]) -> None:
        self._case = case
        self._design = design
        self._readers = {reader.run.spec.run_id: reader for reader in case.request.readers}
        self.done = list(done)
        self._problems = {trial.factor: self._problem(trial) for trial in done}

    @property
    def equalised(self) -> bool | None:
        """Whether the runs agree under E*; None: not shown."""
        star = self.done[0]
        return None if self._problems[None] else self._agree(star)

    @property
    def disturbs(self) -> bool:
        """Whether saying the first arm's own values aloud changed it: then no experiment shows anything."""
        if not all(factor.swaps for factor in self._design.factors):
            return False  # a sorted listing may well change it
        return not self._equal(self._design.specs[0], self.done[0].specs[0])

    def rows(self) -> list[dict[str, Any]]:
        """For the verdict's `experiments`."""
        return [self._row(trial) for trial in self.done]

    def findings(self) -> list[Finding]:
        """Of each release. Call only where E* agrees."""
        return [self._finding(trial.factor, trial) for trial in self.done[1:] if trial.factor is not None]

    def _row(self, trial: Trial) -> dict[str, Any]:
        problem = self._problems[trial.factor]
        result = "no result" if problem else "equal" if self._agree(trial) else "different"
        told = problem or ("they agree" if result == "equal" else "they part")
        if result == "equal" and trial.factor is not None and trial.factor.swaps:
            told += ", as before" if self._unmoved(trial) else ", on other values than before"
        spec = trial.specs[0]
        variables = {f"env:{name}": value for name, value in spec.variables.items()}
        return {
            "words": f"{trial.words}: {told}",
            "released": trial.factor.shown if trial.factor else None,
            "set": {**variables, **spec.parameters, **spec.interventions},
            "runs": [spec.label for spec in trial.specs],
            "result": result,
        }

    def _finding(self, factor: Factor, trial: Trial) -> Finding:
        if problem := self._problems[factor]:
            return Finding(factor, None, f"{factor.shown}: {problem}")
        equal, released = factor.value_words(factor.equal), factor.value_words(factor.released)
        if not factor.swaps:
            if self._agree(trial):
                return Finding(factor, False, f"{factor.shown} is excluded: left as it is, the runs agree")
            words = f"experiment: with {equal} and all else equal the runs agree; with {factor.shown} left as it is they part"
            return Finding(factor, True, words, self._causes(*self._parted(trial)))
        if not self._agree(trial):
            return Finding(factor, None, f"{factor.shown}: with {released} on both they part: shows nothing")
        if self._unmoved(trial):
            return Finding(
                factor, False, f"{factor.shown} is excluded: {equal} and {released} give the same on both arms"
            )
        words = (
            f"experiment: all else equal, both arms agree with {equal}, agree with {released}, "
            "and part from one to the other"
        )
        return Finding(factor, True, words, self._causes(self.done[0].specs[0], trial.specs[0]))

    def _unmoved(self, trial: Trial) -> bool:
        """Whether each run of it is what it was under E*."""
        return all(self._equal(a, b) for a, b in zip(self.done[0].specs, trial.specs, strict=True))

    def _problem(self, trial: Trial) -> str:
        """Why the runs of a trial show nothing; empty where they do."""
        for spec in trial.specs:
            reader = self._readers[spec.run_id]
            if not self._case.sound(reader):
                return self._case.soundness[spec.run_id].reasons[0]
            manifest, interventions = manifest_of(reader), interventions_of(reader)
            for factor in self._design.factors:
                value = factor.released if factor is trial.factor else factor.equal
                if problem := factor.read_back(value, manifest, interventions):
                    return f"{spec.arm.label}: {problem}"
        return ""

    def _agree(self, trial: Trial) -> bool:
        first, other = self._parted(trial)
        return first is other

    def _parted(self, trial: Trial) -> tuple[RunSpec, RunSpec]:
        """The first run, and the first that is not equal to it (itself where all are)."""
        first = trial.specs[0]
        return first, next((one for one in trial.specs[1:] if not self._equal(first, one)), first)

    def _pair(self, left: RunSpec, right: RunSpec) -> PairComparison:
        return self._case.pair(self._readers[left.run_id], self._readers[right.run_id])

    def _equal(self, left: RunSpec, right: RunSpec) -> bool:
        """Equal through the window; what could not be compared is not."""
        pair = self._pair(left, right)
        return not pair.different and not pair.incomparable

    def _causes(self, left: RunSpec, right: RunSpec) -> tuple[CauseFinding, ...]:
        pair = self._pair(left, right)
        facts = [self._case.facts(reader) for reader in (pair.left, pair.right)]
        return tuple(causes_of(self._case.compared_as(pair, self._design.scope, facts)))


def readers_of(done: Sequence[Trial], reader: Callable[[str], RunReader]) -> tuple[RunReader, ...]:
    """Readers of all runs of the trials."""
    return tuple(reader(spec.run_id) for trial in done for spec in trial.specs)
