"""Twins whose causes are removed by several settings each: all causes are found, none is excluded falsely, no decoy is confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

import hypothesis.strategies as st
import pytest
from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, RunsNeededError
from detctl_coordinator.attribution.experiments.explore import explore
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.verdict.explained import with_experiments
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.domain.run import RunSpec
from detctl_coordinator.domain.verdict import Verdict
from hypothesis import given, settings

from tests.support.memory_runs import MemoryRun, RunBuilder

LATER = ("forward", "loss", "backward", "update")


@dataclass(frozen=True, eq=False)
class Cause:
    """Something random. `stage`: where it enters; `removed_by`: settings that each remove it; `note`: what the probe notes."""

    word: str
    stage: str
    removed_by: tuple[str, ...]
    note: Mapping[str, Any] = field(default_factory=dict)


UNSEEDED = {"kind": "unseeded-rng", "text": "never seeded", "generator": "numpy", "file": "{cwd}/train.py", "line": 18}
SPLIT = Cause("unseeded-rng", "batch", ("seed",), UNSEEDED)
UUID = Cause("unseeded-rng", "init", ("seed", "identity"), UNSEEDED)
KERNEL = Cause("nondeterministic-kernel", "backward", ("deterministic", "threads"))
ATOMICS = Cause("nondeterministic-kernel", "forward", ("deterministic",))
HASH = Cause("hash-order", "batch", ("PYTHONHASHSEED",))  # no signature names it
RACE = Cause("concurrency", "batch", ("completion",))
CLOCK_SEED = {
    "kind": "identity",
    "text": "the seed looks like the clock",
    "looks_like": "the clock",
    "file": "{cwd}/train.py",
    "line": 9,
}
CLOCK = Cause("identity-seed", "rng", ("seed", "identity"), CLOCK_SEED)
THREADS = Cause("", "loss", ("threads",))
NOTHING = Cause("", "update", ())


@dataclass
class World:
    """`acts`: the causes that act; `decoys`: causes that are noted, and change nothing; `deaf`: interventions that do nothing."""

    acts: tuple[Cause, ...]
    decoys: tuple[Cause, ...] = ()
    deaf: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._dice = count()

    def run(self, spec: RunSpec) -> MemoryRun:
        requested = {*spec.interventions, *(name for name, value in spec.variables.items() if value)} - self.deaf
        builder = RunBuilder("gpu1", run_id=spec.run_id).asked(
            run_id=spec.run_id,
            twin=spec.twin,
            variables=spec.variables,
            interventions=spec.interventions,
            purpose=spec.purpose,
            step_from=spec.step_from,
            step_to=spec.step_to,
            level=spec.level,
        )
        variables = {name: value for name, value in {"PYTHONHASHSEED": "", **spec.variables}.items() if value}
        builder.fact("variables", variables).train(steps=3)
        for name, text in spec.interventions.items():
            row = {"name": name, "value": text, "acted": name not in self.deaf}
            builder.detail["interventions"].append(row)
        for cause in (*self.acts, *self.decoys):
            if cause.note and "seed" not in requested:
                builder.note(**cause.note)
        if spec.level == "op":
            site = "net:aten.index_put_.default"
            builder.add("backward", 0, site, 0, evidence={"in": ["a"], "args": "(T)", "at": "{cwd}/train.py:35"})
        for cause in self.acts:
            if requested & {*cause.removed_by}:
                continue
            drawn = next(self._dice)
            stages = [cause.stage, *LATER[LATER.index(cause.stage) if cause.stage in LATER else 0 :]]
            for stage in dict.fromkeys(stages):
                builder.change(stage, 0, (cause.stage, cause.removed_by, drawn), sketch=None)
        run = builder.build()
        return replace(run, level=spec.level)


def explained(world: World, budget_runs: int = 200, twins: int = 3) -> tuple[Verdict, list[Round]]:
    natives = [world.run(replace(RunBuilder("gpu1", twin).spec, run_id=f"gpu1-{twin}")) for twin in range(twins)]
    runs = {run.run.spec.run_id: run for run in natives}
    verdict = build_verdict(case_of(runs, []))
    for _ in range(60):
        records = {run_id: run.run for run_id, run in runs.items()}
        runner = ExperimentRunner("a1", records, partial(case_of, runs), budget_runs)
        try:
            rounds = explore(case_of(runs, []), runner)
            assert len(runs) - len(natives) <= budget_runs
            return with_experiments(verdict, rounds), rounds
        except RunsNeededError as needed:
            runs |= {spec.run_id: world.run(spec) for spec in needed.specs}
    raise AssertionError("the experiments come to no end")


def case_of(runs: dict[str, MemoryRun], tried: Any) -> Case:
    natives = [run_id for run_id in runs if run_id.startswith("gpu")]
    return Case(JudgeRequest("a1", "digits", tuple(runs[one] for one in [*natives, *tried]), window=(0, None)))


def confirmed(verdict: Verdict) -> set[str]:
    return {cause.cause for cause in verdict.causes if cause.confidence == "confirmed"}


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {one.setting: one.outcome for one in verdict.tested}


def test_two_masks_that_each_suffice_are_not_separated() -> None:
    verdict, _ = explained(World((KERNEL,)))
    found = outcomes(verdict)
    assert found["deterministic"] == "acts" and found["threads"] == "not-separated"
    (threads,) = [one for one in verdict.tested if one.setting == "threads"]
    assert threads.not_separated_from == ["deterministic"] and threads.effective


def test_the_second_cause_is_confirmed_once_the_first_is_removed() -> None:
    verdict, _ = explained(World((SPLIT, KERNEL)))
    assert confirmed(verdict) == {"unseeded-rng", "nondeterministic-kernel"}, verdict.causes
    kernel = next(cause for cause in verdict.causes if cause.cause == "nondeterministic-kernel")
    assert "{cwd}/train.py:35" in [clue.where for clue in kernel.clues] and kernel.stage == "backward"
    assert "excluded" not in {outcomes(verdict)[name] for name in ("seed", "deterministic", "threads")}
    assert verdict.cheapest_fix is not None and verdict.cheapest_fix.suffices
    assert set(verdict.cheapest_fix.set) == {"seed", "deterministic"}


def test_an_unseeded_generator_that_is_frozen_hides_no_second_cause() -> None:
    """Its note stays although its entropy is frozen, so that it could be blamed for what a set does."""
    private = {key: value for key, value in UNSEEDED.items() if key != "generator"}
    verdict, _ = explained(World((HASH, Cause("unseeded-rng", "sample", ("identity",), private))))
    assert confirmed(verdict) == {"unseeded-rng", "hash-order"}
    second = next(cause for cause in verdict.causes if cause.cause == "hash-order")
    assert not any("never seeded" in line for line in second.evidence)


@pytest.mark.parametrize(
    "acts",
    [(HASH, CLOCK), (RACE, CLOCK), (HASH, SPLIT), (RACE, SPLIT), (CLOCK, KERNEL)],
    ids=lambda a: "+".join(c.word for c in a),
)
def test_two_causes_that_enter_together_are_both_confirmed(acts: tuple[Cause, ...]) -> None:
    """Each was released alone: without it all runs diverge, with it all agree. So it acts, whether or not a signature sees it."""
    verdict, _ = explained(World(acts))
    assert confirmed(verdict) == {cause.word for cause in acts}, (verdict.causes, verdict.tested)
    assert "excluded" not in {outcomes(verdict).get(name) for cause in acts for name in cause.removed_by}


def test_the_first_cause_is_confirmed_although_nothing_removes_the_second() -> None:
    verdict, rounds = explained(World((SPLIT, NOTHING)))
    assert confirmed(verdict) == {"unseeded-rng"} and rounds[0].equalised is False
    assert any("there is another cause" in note for note in verdict.notes)
    assert [cause.cause for cause in verdict.causes if cause.confidence == "indicated"]


def test_the_cheapest_decisive_experiment_comes_first() -> None:
    verdict, _ = explained(World((SPLIT,)))
    assert verdict.experiments[0]["set"] == {"seed": "0"} and len(verdict.experiments) <= 2, verdict.experiments


def test_an_intervention_that_does_nothing_excludes_nothing() -> None:
    verdict, _ = explained(World((THREADS,), deaf=frozenset({"threads"})))
    assert not confirmed(verdict) and outcomes(verdict).get("threads") in (None, "no-op", "no-result")


@pytest.mark.parametrize("budget_runs", [12, 30])
def test_nothing_is_excluded_while_nothing_ends_the_difference(budget_runs: int) -> None:
    """Two causes enter at one place, and the budget ends before both settings are tried together."""
    verdict, _ = explained(World((SPLIT, HASH)), budget_runs)
    assert not confirmed(verdict) and "excluded" not in outcomes(verdict).values(), verdict.tested
    assert any("another cause may enter" in note for note in verdict.notes)


causes = st.lists(
    st.sampled_from([SPLIT, UUID, KERNEL, ATOMICS, THREADS, HASH, RACE, NOTHING]), min_size=1, max_size=3, unique=True
)


@settings(max_examples=15, deadline=None)
@given(causes.map(tuple), st.booleans(), st.sampled_from([12, 30, 200]))
def test_nothing_is_excluded_or_confirmed_falsely(acts: tuple[Cause, ...], decoy: bool, budget_runs: int) -> None:
    world = World(acts, (SPLIT,) if decoy and not {SPLIT, UUID} & {*acts} else ())
    verdict, _ = explained(world, budget_runs)
    assert confirmed(verdict) <= {cause.word for cause in acts}, (confirmed(verdict), verdict.tested)
    excluded = {(one.setting, stage) for one in verdict.tested if one.outcome == "excluded" for stage in one.at.split()}
    removing = {(name, cause.stage) for cause in acts for name in cause.removed_by}
    assert not excluded & removing, (excluded & removing, verdict.tested)
    named = {cause.word for cause in acts} - {""}
    if budget_runs == 200 and not {NOTHING, THREADS} & {*acts}:
        assert confirmed(verdict) == named, (named, verdict.tested, verdict.notes)
