"""Trials: runs with settings, planned once, run once, and read. Pure, given readers.

Experiments are written as if a trial could be run on the spot: `Lab.run` returns its results, or raises RunsNeededError with the runs
that are still to be made. When they are there, everything is gone through again, from the start, and comes to the same place. What has
been run is found by what was asked of it, never by number, so whatever runs an interrupted audit has are used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detctl_proto.limits import EXPERIMENTS_DEFAULT
from detctl_proto.redaction import redact_pairs

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import interventions_of, manifest_of
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.comparison.pair import PairComparison
from detctl_coordinator.comparison.reader import RunReader
from detctl_coordinator.domain.run import Purpose, RunRecord, RunSpec

PURPOSE: Purpose = "experiment"
WORDS_SHOWN = 3
SPENT = "not tried: the budget of {} runs is used up (--budget-runs)"


class RunsNeededError(Exception):
    """Runs that must be there before the experiments go on."""

    def __init__(self, specs: Sequence[RunSpec], trials: Sequence[Trial]) -> None:
        more = f" (and {len(trials) - WORDS_SHOWN} more)" if len(trials) > WORDS_SHOWN else ""
        self.why = "; ".join(trial.words for trial in trials[:WORDS_SHOWN]) + more
        super().__init__(f"{len(specs)} runs: {self.why}")
        self.specs = tuple(specs)


@dataclass(frozen=True)
class Trial:
    """Runs that should agree: each of `bases` with every factor at its value. `released`: what is tried in it."""

    words: str
    bases: tuple[RunSpec, ...]
    settings: Mapping[Factor, str]
    released: tuple[Factor, ...] = ()

    def specs(self) -> tuple[RunSpec, ...]:
        """What to ask for, still without numbers."""
        made = []
        for spec in self.bases:
            for factor, value in self.settings.items():
                spec = factor.applied(spec, value)
            made.append(replace(spec, purpose=PURPOSE))
        return tuple(made)


@dataclass(frozen=True)
class Result:
    """A trial that was run. `problem`: why it shows nothing, empty where it does; `inert`: factors that had nothing to act on."""

    trial: Trial
    specs: tuple[RunSpec, ...]
    problem: str = ""
    inert: frozenset[Factor] = frozenset()


class Lab:
    """`runs`: the audit's, by id; `case_of`: a case of all its natives and of these experiments."""

    def __init__(
        self,
        audit_id: str,
        runs: Mapping[str, RunRecord],
        case_of: Callable[[Sequence[str]], Case],
        budget_runs: int = EXPERIMENTS_DEFAULT,
    ) -> None:
        self._audit_id = audit_id
        self._budget = budget_runs or EXPERIMENTS_DEFAULT
        self._number = len(runs)
        self._made: dict[str, list[RunSpec]] = {}
        for run in runs.values():
            if run.spec.purpose == PURPOSE:
                self._made.setdefault(_asked(run.spec), []).append(run.spec)
        self._tried = sum(map(len, self._made.values()))
        self._used: set[str] = set()
        self.case = case_of([spec.run_id for made in self._made.values() for spec in made])
        self._readers = {reader.run.spec.run_id: reader for reader in self.case.request.readers}

    def run(self, *trials: Trial) -> list[Result]:
        """Results in order. Raises RunsNeededError where runs are missing."""
        missing: list[RunSpec] = []
        planned: list[tuple[Trial, tuple[RunSpec, ...] | None]] = []
        for trial in trials:
            specs, new = self._numbered(trial, missing)
            if len(self._used | {spec.run_id for spec in specs}) > self._budget:
                planned.append((trial, None))
                continue
            self._used |= {spec.run_id for spec in specs}
            missing += new
            planned.append((trial, specs))
        if missing:
            raise RunsNeededError(missing, trials)
        return [self._read(trial, specs) for trial, specs in planned]

    def _numbered(self, trial: Trial, others: Sequence[RunSpec]) -> tuple[tuple[RunSpec, ...], list[RunSpec]]:
        """The runs of a trial, and those of them that are new; `others`: new ones of this batch."""
        specs: list[RunSpec] = []
        new: list[RunSpec] = []
        for asked in trial.specs():
            key = _asked(asked)
            known = [*self._made.get(key, ()), *(spec for spec in others if _asked(spec) == key), *new]
            free = [spec for spec in known if _asked(spec) == key and spec not in specs]
            if free:
                specs.append(free[0])
                continue
            number = self._number + len(others) + len(new)
            twin = self._tried + len(others) + len(new)
            specs.append(replace(asked, run_id=f"{self._audit_id}.{number:03d}", twin=twin))
            new.append(specs[-1])
        return tuple(specs), new

    def _read(self, trial: Trial, specs: tuple[RunSpec, ...] | None) -> Result:
        if specs is None:
            return Result(trial, (), SPENT.format(self._budget))
        inert: set[Factor] = set()
        for spec in specs:
            reader = self._readers[spec.run_id]
            if not self.case.sound(reader):
                return Result(trial, specs, self.case.soundness[spec.run_id].reasons[0])
            manifest, interventions = manifest_of(reader), interventions_of(reader)
            for factor, value in trial.settings.items():
                if factor.idles(value, interventions):
                    inert.add(factor)
                elif problem := factor.read_back(value, manifest, interventions):
                    return Result(trial, specs, f"{spec.arm.label}: {problem}")
        return Result(trial, specs, inert=frozenset(inert))

    # -- what results show ----------------------------------------------------------------------------------------

    def reader(self, spec: RunSpec) -> RunReader:
        return self._readers[spec.run_id]

    def pair(self, left: RunSpec, right: RunSpec) -> PairComparison:
        return self.case.pair(self.reader(left), self.reader(right))

    def equal(self, left: RunSpec, right: RunSpec) -> bool:
        """Equal through the window; what could not be compared is not."""
        return self.pair(left, right).equal

    def parted(self, result: Result) -> tuple[RunSpec, RunSpec]:
        """The first run, and the first that is not equal to it (itself where all are)."""
        first = result.specs[0]
        return first, next((one for one in result.specs[1:] if not self.equal(first, one)), first)

    def agree(self, result: Result) -> bool | None:
        """Whether the runs of a trial are equal; None: it shows nothing."""
        if result.problem:
            return None
        first, other = self.parted(result)
        return first is other

    def unmoved(self, before: Result, after: Result) -> bool:
        """Whether each run of a trial is what it was in another."""
        return all(self.equal(a, b) for a, b in zip(before.specs, after.specs, strict=True))

    def read_back(self, factor: Factor, result: Result) -> str:
        """What an intervention reported of itself in the first run of a trial, for people; empty where it reported nothing."""
        return str(self._intervention(factor, result).get("detail") or "")

    def replaced_calls(self, factor: Factor, result: Result) -> tuple[str, ...]:
        """Dotted names of the program's calls that an intervention answered in the first run of a trial."""
        calls = self._intervention(factor, result).get("calls")
        return tuple(map(str, calls)) if isinstance(calls, Mapping) else ()

    def _intervention(self, factor: Factor, result: Result) -> Mapping[str, Any]:
        rows = interventions_of(self.reader(result.specs[0]))
        return next((row for row in rows if row.get("name") == factor.name), {})

    def cost(self, specs: Iterable[RunSpec], natives: Iterable[RunReader]) -> tuple[float | None, float, int]:
        """How much longer a step takes than in the native runs of its arm, as a share; by what share those scatter; steps
        measured. On the arm that pays most.

        Quickest run against quickest run: whatever else the machine does only makes runs slower."""
        now = _step_times(self.reader(spec) for spec in specs)
        before = _step_times(natives)
        rows = []
        for arm in now.keys() & before.keys():
            (quick, steps), (native, native_steps), (slow, _) = min(now[arm]), min(before[arm]), max(before[arm])
            rows.append((quick / native - 1, slow / native - 1, min(steps, native_steps)))
        return max(rows) if rows else (None, 0.0, 0)

    def row(self, result: Result, before: Result | None = None) -> dict[str, Any]:
        """For the verdict's `experiments`. before: the trial that it is held against."""
        agree = self.agree(result)
        told = result.problem or ("done" if len(result.specs) == 1 else "they agree" if agree else "they part")
        if agree and before is not None:
            told += ", as before" if self.unmoved(before, result) else ", on other values than before"
        asked = result.specs[0] if result.specs else result.trial.specs()[0]
        variables = {f"env:{name}": value for name, value in asked.variables.items()}
        return {
            "words": f"{result.trial.words}: {told}",
            "released": ", ".join(factor.shown for factor in result.trial.released) or None,
            "set": {**variables, **redact_pairs(asked.parameters), **asked.interventions},
            "no_op": sorted(factor.shown for factor in result.inert),
            "runs": [spec.label for spec in result.specs],
            "result": "no result" if agree is None else "equal" if agree else "different",
        }


def _step_times(readers: Iterable[RunReader]) -> dict[str, list[tuple[float, int]]]:
    """Arm -> (median seconds of a step on the slowest rank, steps measured) of each of its runs."""
    found: dict[str, list[tuple[float, int]]] = {}
    for reader in readers:
        rows = [seal.detail.get("step_s") for seal in reader.seals().values()]
        timed = [row for row in rows if isinstance(row, Mapping) and row.get("steps") and row.get("median")]
        if timed and len(timed) == len(rows):
            time = max(float(row["median"]) for row in timed), min(int(row["steps"]) for row in timed)
            found.setdefault(reader.run.spec.arm.label, []).append(time)
    return found


def _asked(spec: RunSpec) -> str:
    """What makes two runs the same experiment."""
    settings = (spec.parameters, spec.variables, spec.interventions)
    told = [sorted(part.items()) for part in settings]
    return json.dumps([spec.arm.label, told, spec.level, spec.step_from, spec.step_to, spec.budget_share, spec.purpose])
