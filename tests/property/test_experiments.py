"""Experiments in worlds whose causes are known: what acts is confirmed, what does not is excluded, and nothing false is ever confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import hypothesis.strategies as st
from detctl_coordinator.attribution.case import Case, JudgeRequest
from detctl_coordinator.attribution.experiments.between_configurations import DISTURBED
from detctl_coordinator.attribution.experiments.delta_debugging import smallest
from detctl_coordinator.attribution.experiments.experiment_runner import ExperimentRunner, RunsNeededError
from detctl_coordinator.attribution.experiments.explore import explore
from detctl_coordinator.attribution.experiments.rounds import Round
from detctl_coordinator.attribution.verdict.explained import with_experiments
from detctl_coordinator.attribution.verdict.report import build_verdict
from detctl_coordinator.domain.run import RunSpec
from detctl_coordinator.domain.verdict import Verdict
from hypothesis import given, settings

from tests.support.memory_runs import MemoryRun, RunBuilder

NATIVE = {
    "gpu1": {"OMP_NUM_THREADS": "1", "TZ": "UTC", "LC_ALL": "C", "NCCL_ALGO": "Ring", "PYTHONHASHSEED": "0"},
    "gpu2": {
        "OMP_NUM_THREADS": "8", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "NCCL_ALGO": "Tree", "PYTHONHASHSEED": "1",
        "ATEN_CPU_CAPABILITY": "default", "TOKENIZERS_PARALLELISM": "true",
    },
}  # fmt: skip
NAMES = sorted({name for values in NATIVE.values() for name in values})


@dataclass(frozen=True)
class World:
    """acts: settings whose value enters the numbers; together: two that act only where both differ from the first machine's;
    hidden: the machines differ in something that cannot be set; deaf: settings that keep their native value whatever is requested;
    fragile: a setting under whose second value the machines diverge."""

    acts: frozenset[str] = frozenset()
    together: frozenset[str] = frozenset()
    hidden: bool = False
    deaf: frozenset[str] = frozenset()
    fragile: str = ""
    control_changes: bool = False  # setting anything at all changes the numbers
    runs: list[str] = field(default_factory=list)

    def run(self, spec: RunSpec) -> MemoryRun:
        machine = spec.arm.machine
        now = {**NATIVE[machine]}
        for name, value in spec.variables.items():
            if name not in self.deaf:
                now[name] = value
        now = {name: value for name, value in now.items() if value}
        value: list[object] = [now.get(name) for name in sorted(self.acts)]
        if self.together:
            value.append(all(now.get(name) != NATIVE["gpu1"].get(name) for name in self.together))
        if self.hidden or (self.fragile and now.get(self.fragile) == NATIVE["gpu2"].get(self.fragile)):
            value.append(machine)
        if self.control_changes and spec.variables:
            value.append("disturbed")
        builder = RunBuilder(machine, run_id=spec.run_id).asked(
            run_id=spec.run_id, twin=spec.twin, variables=spec.variables, purpose=spec.purpose
        )
        builder.fact("variables", now).train(steps=2)
        builder.carry("forward", "loss", "backward", "update", value=tuple(value))
        return builder.build()


def explained(world: World, budget_runs: int = 0) -> tuple[Verdict, list[Round]]:
    """Runs what is requested and starts over, as verdicts.py does."""
    natives = [
        world.run(replace(RunBuilder(machine, twin).spec, run_id=f"{machine}-{twin}"))
        for machine in NATIVE
        for twin in (0, 1)
    ]
    runs = {run.run.spec.run_id: run for run in natives}
    case = case_of(runs, [])
    verdict = build_verdict(case)
    if verdict.outcome != "different":
        return verdict, []
    while True:
        requested = requested_or(case, runs, budget_runs)
        if isinstance(requested, list):
            assert len(runs) - len(natives) <= (budget_runs or 30)
            return with_experiments(verdict, requested), requested
        assert not {spec.run_id for spec in requested.specs} & set(runs)
        runs |= {spec.run_id: world.run(spec) for spec in requested.specs}


def requested_or(case: Case, runs: dict[str, MemoryRun], budget_runs: int) -> RunsNeededError | list[Round]:
    records = {run_id: run.run for run_id, run in runs.items()}
    try:
        return explore(case, ExperimentRunner("a1", records, lambda tried: case_of(runs, tried), budget_runs))
    except RunsNeededError as requested:
        return requested


def case_of(runs: dict[str, MemoryRun], tried: Sequence[str]) -> Case:
    natives = [run_id for run_id in runs if run_id.startswith("gpu")]
    readers = tuple(runs[run_id] for run_id in [*natives, *tried])
    return Case(JudgeRequest("a1", "digits", readers, window=(0, None)))


def effects(rounds: list[Round]) -> dict[str, bool | None]:
    return {one.factor.name: one.effect for round_ in rounds for one in round_.findings}


def confirmed(verdict: Verdict) -> list[str]:
    return [cause.cause for cause in verdict.causes if cause.confidence == "confirmed"]


some = st.frozensets(st.sampled_from(NAMES))


@settings(max_examples=25, deadline=None)
@given(some)
def test_all_that_acts_is_confirmed_and_nothing_else(acts: frozenset[str]) -> None:
    verdict, rounds = explained(World(acts=acts))
    if not acts:
        assert verdict.outcome == "identical" and not rounds
        return
    assert effects(rounds) == {name: name in acts for name in NAMES}
    assert len(confirmed(verdict)) == len(verdict.causes) > 0
    assert all(cause.confirmed_by == "swap" for cause in verdict.causes)
    sent = " ".join(line for cause in verdict.causes for line in cause.evidence)
    assert all(f"env:{name}" in " ".join(c.fix for c in verdict.causes) + sent for name in acts)
    fix = verdict.cheapest_fix
    assert fix is not None and fix.suffices and set(fix.set) == {f"env:{name}" for name in acts}


@settings(max_examples=25, deadline=None)
@given(some, some)
def test_what_cannot_be_set_confirms_nothing(acts: frozenset[str], deaf: frozenset[str]) -> None:
    verdict, rounds = explained(World(acts=acts, hidden=True))
    assert confirmed(verdict) == [] and rounds[0].equalised is False and verdict.cheapest_fix is None
    deaf_too, rounds = explained(World(acts=acts, deaf=deaf))
    if deaf and acts:
        assert confirmed(deaf_too) == [] and rounds[0].equalised is None


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))
def test_those_that_act_together_are_found(some_names: list[str]) -> None:
    verdict, rounds = explained(World(together=frozenset(some_names)), budget_runs=200)
    assert effects(rounds) == {name: name in some_names for name in NAMES}
    assert confirmed(verdict) and all(one.acts_with for round_ in rounds for one in round_.findings if one.effect)
    assert verdict.cheapest_fix is not None and verdict.cheapest_fix.suffices


def test_settings_that_hide_each_other_are_not_excluded_where_a_third_one_acts() -> None:
    verdict, _ = explained(World(acts=frozenset(["TZ"]), together=frozenset(["LC_ALL", "NCCL_ALGO"])), 200)
    found = {one.setting: (one.outcome, one.not_separated_from) for one in verdict.tested}
    assert found["env:TZ"][0] == "acts" and confirmed(verdict)
    assert {found[name][0] for name in ("env:LC_ALL", "env:NCCL_ALGO")} == {"not-separated"}, found


@settings(max_examples=12, deadline=None)
@given(some.filter(bool), st.sampled_from(NAMES))
def test_a_value_under_which_they_part_shows_nothing(acts: frozenset[str], fragile: str) -> None:
    verdict, rounds = explained(World(acts=acts, fragile=fragile))
    found = effects(rounds)
    assert found.pop(fragile) is None
    assert {name for name, effect in found.items() if effect} == acts - {fragile}
    assert bool(confirmed(verdict)) == bool(acts - {fragile})


def test_where_the_control_changes_something_nothing_is_confirmed_and_nothing_more_is_run() -> None:
    verdict, rounds = explained(World(acts=frozenset(["TZ"]), control_changes=True))
    assert confirmed(verdict) == [] and rounds[0].note == DISTURBED and len(rounds[0].rows) == 1


@settings(max_examples=12, deadline=None)
@given(some.filter(bool), st.integers(1, 20))
def test_a_budget_is_kept_and_what_was_not_tried_is_reported(acts: frozenset[str], budget_runs: int) -> None:
    verdict, rounds = explained(World(acts=acts), budget_runs)
    untried = {name for name, effect in effects(rounds).items() if effect is None}
    assert set(effects(rounds)) - untried <= set(NAMES)
    if untried or not effects(rounds):
        assert any("--budget-runs" in note for note in verdict.notes), verdict.notes
        assert len(verdict.causes) >= len(confirmed(verdict))


@given(st.frozensets(st.integers(0, 9), min_size=1))
def test_delta_debugging_finds_the_smallest_set(acting: frozenset[int]) -> None:
    assert set(smallest(range(10), lambda some: acting <= set(some)) or []) == acting
    assert smallest(range(10), lambda some: False) is None
    assert smallest(range(10), lambda some: None) is None


def test_what_the_owner_alone_can_set_is_named() -> None:
    runs = {}
    for machine, rate in (("gpu1", "0.1"), ("gpu2", "0.5")):
        for twin in (0, 1):
            builder = RunBuilder(machine, twin, run_id=f"{machine}-{twin}").fact("variables/DROP_RATE", rate)
            builder.note("variable", "the variable DROP_RATE is read", name="DROP_RATE", file="{cwd}/train.py", line=5)
            builder.train(steps=2).carry("forward", "loss", "backward", "update", value=rate)
            runs[f"{machine}-{twin}"] = builder.build()
    case = case_of(runs, [])
    rounds = requested_or(case, runs, 0)
    assert isinstance(rounds, list)
    verdict = with_experiments(build_verdict(case), rounds)
    assert confirmed(verdict) == [] and verdict.experiments == []
    text = "None was run, because detctl cannot set what differs between the configurations (DROP_RATE)."
    assert f"Experiments: {text}" in verdict.notes


def test_processors_that_dispatch_by_themselves_are_confirmed_by_their_lowest_common_set() -> None:
    """Two CPUs, no variable set: with what both can do they agree, left alone they diverge."""

    class Processors(World):
        def run(self, spec: RunSpec) -> MemoryRun:
            machine = spec.arm.machine
            dispatched = spec.variables.get("ATEN_CPU_CAPABILITY") or ("AVX2" if machine == "gpu1" else "AVX512")
            builder = RunBuilder(machine, run_id=spec.run_id).asked(
                run_id=spec.run_id, twin=spec.twin, variables=spec.variables, purpose=spec.purpose, step_to=spec.step_to
            )
            builder.fact("torch/cpu_capability", dispatched)
            builder.fact("variables", {name: value for name, value in spec.variables.items() if value})
            builder.train(steps=2).carry("forward", "loss", "backward", "update", value=dispatched)
            return builder.build()

    verdict, rounds = explained(Processors())
    assert [(c.cause, c.origin, c.confirmed_by) for c in verdict.causes] == [("cpu-isa", "hardware", "equalised")]
    assert verdict.origin == "hardware"
    assert effects(rounds) == {"ATEN_CPU_CAPABILITY": True, "ONEDNN_MAX_CPU_ISA": False, "MKL_CBWR": False}
