"""Diverging twins in worlds whose randomness is known: a source that can be fixed is confirmed, masks never confirm, a hardware fault is
found on one machine, and the self-test finds a probe that disturbs and a comparison that misses differences."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import pytest
from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, RunsNeededError
from detctl_coordinator.attribution.experiments.explore import explore, held_in
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.self_test import self_test
from detctl_coordinator.attribution.verdict.explained import with_experiments, with_self_test
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.domain.run import RunSpec
from detctl_coordinator.domain.verdict import Verdict

from tests.support.memory_runs import MemoryRun, RunBuilder, sketch_of

Chance = Literal["", "seed", "identity", "hash", "race", "fault", "coin", "empty"]


@dataclass
class World:
    """chance: the randomness of twins; between: a setting that also makes the machines diverge; disturbs, blind: defects of the audit."""

    chance: Chance = ""
    between: str = ""
    disturbs: bool = False
    blind: bool = False
    tossed: int = 0  # of the coin

    def __post_init__(self) -> None:
        self._dice = count()
        self._coin = random.Random(self.tossed)

    def run(self, spec: RunSpec) -> MemoryRun:
        machine, requested = spec.arm.machine, spec.interventions
        drawn: object = 0
        held = {"seed": "seed" in requested, "identity": "identity" in requested, "hash": spec.variables.get("PYTHONHASHSEED") == "0",
                "race": requested.get("threads") == "1", "fault": machine != "gpu1", "coin": False,
                "empty": "deterministic" in requested, "": True}  # fmt: skip
        if not held[self.chance]:
            drawn = self._coin.random() < 0.5 if self.chance == "coin" else next(self._dice)
        value: list[object] = [drawn]
        variables = {
            "PYTHONHASHSEED": "",
            "OMP_NUM_THREADS": "8" if self.between and machine == "gpu2" else "1",
            **spec.variables,
        }
        if self.between:
            value.append(variables[self.between])
        if self.disturbs and "bare" not in requested:
            value.append("instrumented")
        builder = RunBuilder(machine, run_id=spec.run_id).asked(
            run_id=spec.run_id,
            twin=spec.twin,
            variables=spec.variables,
            interventions=requested,
            purpose=spec.purpose,
            step_to=spec.step_to,
            level=spec.level,
        )
        builder.fact("variables", {k: v for k, v in variables.items() if v}).train(steps=3)
        for name, text in requested.items():
            builder.detail["interventions"].append({"name": name, "value": text, "acted": True})
        if self.chance == "coin":  # what a signature says of it is wrong
            builder.note(
                "unseeded-rng",
                "numpy.random.default_rng without a seed takes one from the system",
                file="train.py",
                line=3,
            )
        builder.carry("forward", "loss", "backward", "update", value=tuple(value))
        if self.chance == "empty":  # deterministic algorithms fill memory with NaN
            builder.change("loss", 1, "", sketch=(float("deterministic" in requested), *sketch_of([0.5])[1:]))
        if not self.blind and requested.get("fault") == "ulp:1":
            for stage in ("forward", "loss", "backward", "update"):
                builder.change(stage, 1, "ulp")
        if not self.blind and requested.get("fault") == "swap:1":
            builder.change("order", 1, "swapped", onward=False)
            builder.change("batch", 1, "swapped", onward=False)
            for stage in ("forward", "loss", "backward", "update"):
                builder.change(stage, 1, "swapped")
        return builder.build()


def case_of(runs: dict[str, MemoryRun], tried: list[str]) -> Case:
    natives = [run_id for run_id in runs if run_id.startswith("gpu")]
    return Case(JudgeRequest("a1", "digits", tuple(runs[one] for one in [*natives, *tried]), window=(0, None)))


def explained(
    world: World, machines: tuple[str, ...] = ("gpu1", "gpu2"), *, test: bool = False
) -> tuple[Verdict, list[Round]]:
    natives = [world.run(replace(RunBuilder(m, twin).spec, run_id=f"{m}-{twin}")) for m in machines for twin in (0, 1)]
    runs = {run.run.spec.run_id: run for run in natives}
    case = case_of(runs, [])
    verdict = build_verdict(case)
    for _ in range(30):
        needed, rounds, checks = go(case, runs, verdict, test=test)
        if needed is None:
            verdict = with_experiments(verdict, rounds) if rounds else verdict
            return (with_self_test(verdict, checks) if checks else verdict), rounds
        runs |= {spec.run_id: world.run(spec) for spec in needed.specs}
    raise AssertionError("the experiments come to no end")


def go(case, runs, verdict, *, test):
    runner = ExperimentRunner(
        "a1", {k: run.run for k, run in runs.items()}, lambda tried: case_of(runs, list(tried)), 200
    )
    try:
        rounds = explore(case, runner) if verdict.outcome == "different" else []
        return None, rounds, self_test(case, runner, held_in(rounds)) if test else []
    except RunsNeededError as needed:
        return needed, [], []


@pytest.mark.parametrize(
    ("chance", "word"), [("seed", "unseeded-rng"), ("identity", "identity-seed"), ("hash", "hash-order")]
)
def test_chance_that_can_be_held_is_confirmed_and_removed(chance: Chance, word: str) -> None:
    verdict, rounds = explained(World(chance))
    assert [(c.cause, c.confidence, c.confirmed_by) for c in verdict.causes] == [(word, "confirmed", "equalised")]
    assert verdict.origin == "code" and verdict.cheapest_fix is not None and verdict.cheapest_fix.suffices
    assert len(rounds) == 2 and rounds[1].equalised and len(rounds[1].rows) == 1, (
        "with chance held the machines agree: nothing else is tried"
    )


@pytest.mark.parametrize("chance", ["seed", "identity", "hash"])
def test_the_cause_behind_chance_is_found_too(chance: Chance) -> None:
    verdict, rounds = explained(World(chance, between="OMP_NUM_THREADS"))
    confirmed = {c.cause: c.confirmed_by for c in verdict.causes if c.confidence == "confirmed"}
    assert confirmed.get("thread-count") == "swap" and len(confirmed) == 2, verdict.causes
    assert rounds[1].fix is not None and rounds[1].fix.suffices


def test_a_race_is_masked_and_never_confirmed() -> None:
    verdict, rounds = explained(World("race"))
    assert not [cause for cause in verdict.causes if cause.confidence == "confirmed"]
    assert [one.factor.name for one in rounds[0].findings if one.effect] == ["threads"]
    assert "masks" in " ".join(verdict.notes) + " ".join(line for cause in verdict.causes for line in cause.evidence)


def test_memory_that_nobody_fills_shows_when_it_is_filled() -> None:
    verdict, _ = explained(World("empty"))
    first = verdict.causes[0]
    assert (first.cause, first.origin, first.confidence) == ("uninitialised-memory", "code", "confirmed")
    assert "the loss is NaN from step 1 on" in first.evidence[0]
    assert "uninitialised-memory" not in [cause.cause for cause in explained(World("race"))[0].causes]


def test_a_kernel_of_two_choices_is_hardly_ever_taken_for_a_seed() -> None:
    """The worst case: a 50:50 choice that nothing influences, under a signature that names the seed."""
    verdicts = [explained(World("coin", tossed=number), ("gpu1",))[0] for number in range(150)]
    different = [verdict for verdict in verdicts if verdict.outcome == "different"]
    false = [verdict for verdict in different if any(cause.confidence == "confirmed" for cause in verdict.causes)]
    assert len(different) > 50 and len(false) <= 0.05 * len(different), (len(false), len(different))


def test_a_machine_at_odds_with_itself_and_not_with_its_peer() -> None:
    verdict, rounds = explained(World("fault"))
    assert rounds[0].hardware_fault and verdict.causes[0].cause == "hardware-fault"
    assert verdict.origin == "hardware" and verdict.causes[0].confidence == "indicated"


def test_the_self_test_passes_where_the_audit_is_right() -> None:
    verdict, _ = explained(World(), ("gpu1",), test=True)
    assert verdict.outcome == "identical" and verdict.self_test is not None
    assert [check["passed"] for check in verdict.self_test["checks"]] == [True, True, True], verdict.self_test


@pytest.mark.parametrize(("world", "failed"), [(World(disturbs=True), ["bare"]), (World(blind=True), ["ulp", "swap"])])
def test_a_probe_that_disturbs_and_a_blind_comparison_are_unverified(world: World, failed: list[str]) -> None:
    verdict, _ = explained(world, ("gpu1",), test=True)
    assert verdict.outcome == "unverified" and verdict.self_test is not None
    assert [check["name"] for check in verdict.self_test["checks"] if check["passed"] is False] == failed
    assert any("self-test failed" in reason for reason in verdict.unverified_because)


def test_a_level_that_leaves_weights_out_is_tested_at_one_that_does_not() -> None:
    world = World()
    requested: list[RunSpec] = []
    run = world.run
    world.run = lambda spec: requested.append(spec) or run(spec)  # type: ignore[method-assign, func-returns-value]
    natives = [run(replace(RunBuilder("gpu1", twin).spec, run_id=f"gpu1-{twin}", level="step")) for twin in (0, 1)]
    runs = {one.run.spec.run_id: one for one in natives}
    case = case_of(runs, [])
    for _ in range(3):
        needed, _, checks = go(case, runs, build_verdict(case), test=True)
        runs |= {spec.run_id: world.run(spec) for spec in (needed.specs if needed else ())}
    assert {spec.level for spec in requested} == {"module"} and len(requested) == 4
    assert [check.passed for check in checks] == [True, True, True]


def test_twins_that_part_allow_no_self_test() -> None:
    verdict, _ = explained(World("fault"), ("gpu1",), test=True)
    assert verdict.outcome == "different" and verdict.self_test is not None
    assert [check["passed"] for check in verdict.self_test["checks"]] == [None]
