"""Runs the trials of experiments. Pure: readers are passed in.

Experiments are written as if trials ran immediately: `ExperimentRunner.run` returns their results, or raises RunsNeededError with
the runs that are missing. Once these have finished, the experiments start over and reach the same point with more results. A
finished run is found by its settings and never by its number, so all runs of an interrupted audit are reused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from detctl_proto.limits import EXPERIMENTS_DEFAULT
from detctl_proto.security.redaction import redact_pairs

from detctl_coordinator.attribution.case import Case
from detctl_coordinator.attribution.evidence.facts import interventions_of, manifest_of
from detctl_coordinator.attribution.evidence.pair_evidence import NUMERIC
from detctl_coordinator.attribution.experiments.factors import Factor
from detctl_coordinator.attribution.zoom import LEVEL as LEVEL_OF_OPERATIONS
from detctl_coordinator.attribution.zoom import NEAR_START, STEPS_OF_TWINS
from detctl_coordinator.comparison.first_divergent_operation import DivergentOperation, first_divergent_operation
from detctl_coordinator.comparison.pair import PairComparison, compare_pair
from detctl_coordinator.comparison.reader import DamagedError, RunReader
from detctl_coordinator.domain.run import Purpose, RunRecord, RunSpec, RunState

PURPOSE: Purpose = "experiment"
TRIALS_SHOWN = 3
BUDGET_USED_UP = "not tried, because the budget of {} runs is used up (--budget-runs)"


class RunsNeededError(Exception):
    """Runs must finish before the experiments can continue. `why`: what they are for, in one line."""

    def __init__(self, specs: Sequence[RunSpec], trials: Sequence[Trial]) -> None:
        more = f" (and {len(trials) - TRIALS_SHOWN} more)" if len(trials) > TRIALS_SHOWN else ""
        self.why = "; ".join(trial.description for trial in trials[:TRIALS_SHOWN]) + more
        super().__init__(f"{len(specs)} runs: {self.why}")
        self.specs = tuple(specs)


@dataclass(frozen=True)
class Trial:
    """Runs that are expected to agree: each of `bases` with all `settings`. `released`: the factors that the trial tests."""

    description: str
    bases: tuple[RunSpec, ...]
    settings: Mapping[Factor, str]
    released: tuple[Factor, ...] = ()

    def specs(self) -> tuple[RunSpec, ...]:
        """Returns the specs of the runs, without run ids of their own."""
        made = []
        for spec in self.bases:
            for factor, value in self.settings.items():
                spec = factor.applied(spec, value)
            made.append(replace(spec, purpose=PURPOSE))
        return tuple(made)


@dataclass(frozen=True)
class Result:
    """A finished trial. `problem`: why it has no result; empty: it has one. `no_ops`: factors that had nothing to act on."""

    trial: Trial
    specs: tuple[RunSpec, ...]
    problem: str = ""
    no_ops: frozenset[Factor] = frozenset()


class ExperimentRunner:
    """Plans the runs of trials and reads their results. `runs`: the audit's runs by id. `case_of`: returns the case of the audit's
    own runs and of these experiments."""

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
                self._made.setdefault(_settings_key(run.spec), []).append(run.spec)
        self._tried = sum(map(len, self._made.values()))
        for run in runs.values():  # the audit's own zoom of unchanged runs serves experiments as well
            if run.spec.purpose == "zoom":
                spec = replace(run.spec, purpose=PURPOSE)
                self._made.setdefault(_settings_key(spec), []).append(run.spec)
        self._used: set[str] = set()
        self._levels = {run.spec.level for run in runs.values() if not run.spec.purpose}
        made = [spec for specs in self._made.values() for spec in specs]
        # Runs at level op end early, so they must not shorten the window in which the others are compared.
        closer = [spec.run_id for spec in made if self._is_closer(spec)]
        self.case = case_of([spec.run_id for spec in made if not self._is_closer(spec)])
        self._readers = {reader.run.spec.run_id: reader for reader in self.case.request.readers}
        if closer:
            self._readers |= {reader.run.spec.run_id: reader for reader in case_of(closer).request.readers}

    def run(self, *trials: Trial) -> list[Result]:
        """Returns results in the order of the trials. Raises RunsNeededError if runs are missing."""
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
        """Returns the runs of a trial, and those among them that are new. `others`: other new runs of this batch."""
        specs: list[RunSpec] = []
        new: list[RunSpec] = []
        for requested in trial.specs():
            key = _settings_key(requested)
            known = [*self._made.get(key, ()), *(spec for spec in others if _settings_key(spec) == key), *new]
            free = [spec for spec in known if _settings_key(spec) == key and spec not in specs]
            if free:
                specs.append(free[0])
                continue
            number = self._number + len(others) + len(new)
            twin = self._tried + len(others) + len(new)
            specs.append(replace(requested, run_id=f"{self._audit_id}.{number:03d}", twin=twin))
            new.append(specs[-1])
        return tuple(specs), new

    def _read(self, trial: Trial, specs: tuple[RunSpec, ...] | None) -> Result:
        if specs is None:
            return Result(trial, (), BUDGET_USED_UP.format(self._budget))
        no_ops: set[Factor] = set()
        for spec in specs:
            reader = self._readers[spec.run_id]
            if self._is_closer(spec):
                if reader.run.state is not RunState.SEALED:
                    return Result(trial, specs, f"{spec.label} did not finish ({reader.run.state.value})")
                continue
            if not self.case.is_complete(reader):
                return Result(trial, specs, self.case.completeness[spec.run_id].reasons[0])
            manifest, interventions = manifest_of(reader), interventions_of(reader)
            for factor, value in trial.settings.items():
                if factor.is_no_op(value, interventions):
                    no_ops.add(factor)
                elif problem := factor.read_back(value, manifest, interventions):
                    return Result(trial, specs, f"{spec.arm.label}: {problem}")
        return Result(trial, specs, no_ops=frozenset(no_ops))

    def _is_closer(self, spec: RunSpec) -> bool:
        """Returns whether a run records single operations, unlike the audit's own runs."""
        return spec.level == LEVEL_OF_OPERATIONS and LEVEL_OF_OPERATIONS not in self._levels

    def first_operation(
        self, base: RunSpec, settings: Mapping[Factor, str], step: int, rows: list[dict[str, Any]]
    ) -> DivergentOperation | None:
        """Returns the operation with equal inputs and different outputs at which two runs with these settings diverge; None: none is
        known. `step`: where the runs diverge. Adds a row to `rows`."""
        first = 0 if step < NEAR_START else step
        closer = replace(base, level=LEVEL_OF_OPERATIONS, step_from=first, step_to=step + STEPS_OF_TWINS)
        shown = ", ".join(factor.format_value(value) for factor, value in settings.items()) or "nothing"
        result = self.run(Trial(f"Step {step} at level op, with {shown} set", (closer, closer), settings))[0]
        rows.append(self.closer_row(result))
        if result.problem:
            return None
        try:
            left, right = (self._readers[spec.run_id] for spec in result.specs)
            pair = compare_pair(left, right)
            computed = [d.step for d in pair.differences.values() if d.node.stage in NUMERIC and d.deciding]
            found = first_divergent_operation(pair, min(computed)) if computed else None
        except DamagedError:
            return None
        return found if isinstance(found, DivergentOperation) and found.inputs_equal else None

    def closer_row(self, result: Result) -> dict[str, Any]:
        """Returns a row of the verdict's `experiments` for runs at level op, which show where runs diverge and not whether."""
        spec = result.specs[0] if result.specs else result.trial.specs()[0]
        return {
            "words": f"{result.trial.description}: {result.problem or 'done'}",
            "released": None,
            "set": {
                **{f"env:{n}": v for n, v in spec.variables.items()},
                **redact_pairs(spec.parameters),
                **spec.interventions,
            },
            "no_op": [],
            "runs": [spec.label for spec in result.specs],
            "result": "no result" if result.problem else "done",
        }

    # -- reading results ------------------------------------------------------------------------------------------

    def reader(self, spec: RunSpec) -> RunReader:
        return self._readers[spec.run_id]

    def pair(self, left: RunSpec, right: RunSpec) -> PairComparison:
        return self.case.pair(self.reader(left), self.reader(right))

    def equal(self, left: RunSpec, right: RunSpec) -> bool:
        """Returns whether two runs were compared and are equal over the window."""
        return self.pair(left, right).equal

    def diverged_pair(self, result: Result) -> tuple[RunSpec, RunSpec]:
        """Returns the first run and the first run that differs from it; twice the first if all are equal."""
        first = result.specs[0]
        return first, next((one for one in result.specs[1:] if not self.equal(first, one)), first)

    def agree(self, result: Result) -> bool | None:
        """Returns whether the runs of a trial are equal; None: no result."""
        if result.problem:
            return None
        first, other = self.diverged_pair(result)
        return first is other

    def unchanged(self, before: Result, after: Result) -> bool:
        """Returns whether each run of a trial equals its counterpart in another trial."""
        return all(self.equal(a, b) for a, b in zip(before.specs, after.specs, strict=True))

    def read_back(self, factor: Factor, result: Result) -> str:
        """Returns what an intervention reported in the first run of a trial, for people; empty: nothing."""
        return str(self._intervention(factor, result).get("detail") or "")

    def replaced_calls(self, factor: Factor, result: Result) -> tuple[str, ...]:
        """Returns the dotted names of the program's calls that an intervention replaced in the first run of a trial."""
        calls = self._intervention(factor, result).get("calls")
        return tuple(map(str, calls)) if isinstance(calls, Mapping) else ()

    def _intervention(self, factor: Factor, result: Result) -> Mapping[str, Any]:
        rows = interventions_of(self.reader(result.specs[0]))
        return next((row for row in rows if row.get("name") == factor.name), {})

    def cost(self, specs: Iterable[RunSpec], natives: Iterable[RunReader]) -> tuple[float | None, float, int]:
        """Returns (relative change of the step time, relative scatter of the unchanged runs, number of timed steps), for the
        configuration that slows down most. None: not measured.

        The fastest runs are compared, since other load on the machine only makes runs slower."""
        now = _step_times(self.reader(spec) for spec in specs)
        before = _step_times(natives)
        rows = []
        for label in now.keys() & before.keys():
            (quick, steps), (native, native_steps), (slow, _) = min(now[label]), min(before[label]), max(before[label])
            rows.append((quick / native - 1, slow / native - 1, min(steps, native_steps)))
        return max(rows) if rows else (None, 0.0, 0)

    def row(self, result: Result, before: Result | None = None) -> dict[str, Any]:
        """Returns a row of the verdict's `experiments`. `before`: the trial to compare with."""
        agree = self.agree(result)
        outcome = result.problem or (
            "done" if len(result.specs) == 1 else "the runs agree" if agree else "the runs diverge"
        )
        if agree and before is not None:
            outcome += " as before" if self.unchanged(before, result) else ", but their values changed"
        spec = result.specs[0] if result.specs else result.trial.specs()[0]
        variables = {f"env:{name}": value for name, value in spec.variables.items()}
        return {
            "words": f"{result.trial.description}: {outcome}",
            "released": ", ".join(factor.shown for factor in result.trial.released) or None,
            "set": {**variables, **redact_pairs(spec.parameters), **spec.interventions},
            "no_op": sorted(factor.shown for factor in result.no_ops),
            "runs": [spec.label for spec in result.specs],
            "result": "no result" if agree is None else "equal" if agree else "different",
        }


def _step_times(readers: Iterable[RunReader]) -> dict[str, list[tuple[float, int]]]:
    """Returns configuration -> (median seconds of a step on the slowest rank, number of timed steps) of each of its runs."""
    found: dict[str, list[tuple[float, int]]] = {}
    for reader in readers:
        rows = [seal.detail.get("step_s") for seal in reader.seals().values()]
        timed = [row for row in rows if isinstance(row, Mapping) and row.get("steps") and row.get("median")]
        if timed and len(timed) == len(rows):
            time = max(float(row["median"]) for row in timed), min(int(row["steps"]) for row in timed)
            found.setdefault(reader.run.spec.arm.label, []).append(time)
    return found


def _settings_key(spec: RunSpec) -> str:
    """Returns a text that is equal for runs of the same experiment."""
    settings = [sorted(values.items()) for values in (spec.parameters, spec.variables, spec.interventions)]
    return json.dumps(
        [spec.arm.label, settings, spec.level, spec.step_from, spec.step_to, spec.budget_share, spec.purpose]
    )
