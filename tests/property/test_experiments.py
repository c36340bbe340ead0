"""Experiments in worlds whose causes are known: what acts is confirmed, what does not is excluded, and nothing false is ever confirmed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import hypothesis.strategies as st
from detctl_coordinator.attribution.experiments import Design, Reading, Trial, design_of, readers_of, trials
from detctl_coordinator.attribution.explained import TOGETHER, with_experiments
from detctl_coordinator.attribution.judge import Case, JudgeRequest
from detctl_coordinator.attribution.report import build_verdict
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
    hidden: the machines differ in something that cannot be set; deaf: settings that keep their native value whatever is asked;
    fragile: a setting under whose second value the machines part."""

    acts: frozenset[str] = frozenset()
    together: frozenset[str] = frozenset()
    hidden: bool = False
    deaf: frozenset[str] = frozenset()
    fragile: str = ""
    sham: bool = False  # being told anything at all changes the numbers of the first machine
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
        if self.sham and machine == "gpu1" and spec.variables:
            value.append("disturbed")
        builder = RunBuilder(machine, run_id=spec.run_id).asked(
            run_id=spec.run_id, twin=spec.twin, variables=spec.variables, purpose=spec.purpose
        )
        builder.fact("variables", now).train(steps=2)
        builder.carry("forward", "loss", "backward", "update", value=tuple(value))
        return builder.build()


def explained(world: World) -> tuple[Verdict, Design | None, Reading | None]:
    natives = [
        world.run(replace(RunBuilder(machine, twin).spec, run_id=f"{machine}-{twin}"))
        for machine in NATIVE
        for twin in (0, 1)
    ]
    case = Case(JudgeRequest("a1", "digits", tuple(natives), window=(0, None)))
    verdict = build_verdict(case)
    design = design_of(case) if verdict.outcome == "different" else None
    if design is None:
        return verdict, None, None
    planned = trials(design, "a1", 4)
    done = planned[:1]
    reading = read(world, design, done)
    if reading.equalised:
        reading = read(world, design, planned)
    return with_experiments(verdict, reading), design, reading


def read(world: World, design: Design, done: list[Trial]) -> Reading:
    made = {spec.run_id: world.run(spec) for trial in done for spec in trial.specs}
    readers = (world.run(design.specs[0]), *readers_of(done, made.__getitem__))
    return Reading(Case(JudgeRequest("a1", "digits", readers, window=(0, None))), design, done)


def confirmed(verdict: Verdict) -> list[str]:
    return [cause.cause for cause in verdict.causes if cause.confidence == "confirmed"]


some = st.frozensets(st.sampled_from(NAMES))


@settings(max_examples=60, deadline=None)
@given(some)
def test_all_that_acts_is_confirmed_and_nothing_else(acts: frozenset[str]) -> None:
    verdict, design, reading = explained(World(acts=acts))
    if not acts:
        assert verdict.outcome == "identical" and design is None
        return
    assert reading is not None and design is not None
    assert {factor.name for factor in design.factors} == set(NAMES)
    assert sum(len(trial.specs) for trial in reading.done) <= 30
    assert {one.factor.name for one in reading.findings() if one.effect} == acts
    assert {one.factor.name for one in reading.findings() if one.effect is False} == set(NAMES) - acts
    assert len(confirmed(verdict)) == len(acts) == len(verdict.causes)
    assert all(cause.confirmed_by == "swap" for cause in verdict.causes)


@settings(max_examples=60, deadline=None)
@given(some, some)
def test_what_cannot_be_set_confirms_nothing(acts: frozenset[str], deaf: frozenset[str]) -> None:
    verdict, _, reading = explained(World(acts=acts, hidden=True))
    assert confirmed(verdict) == [] and reading is not None and reading.equalised is False
    deaf_too, _, reading = explained(World(acts=acts, deaf=deaf))
    if deaf and acts:
        assert confirmed(deaf_too) == [] and reading is not None and reading.equalised is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True))
def test_two_that_act_together_are_not_told_apart(pair: list[str]) -> None:
    verdict, *_ = explained(World(together=frozenset(pair)))
    assert confirmed(verdict) == [] and TOGETHER in verdict.notes


@settings(max_examples=40, deadline=None)
@given(some.filter(bool), st.sampled_from(NAMES))
def test_a_value_under_which_they_part_shows_nothing(acts: frozenset[str], fragile: str) -> None:
    verdict, _, reading = explained(World(acts=acts, fragile=fragile))
    assert reading is not None
    effects = {one.factor.name: one.effect for one in reading.findings()}
    assert effects.pop(fragile) is None
    assert {name for name, effect in effects.items() if effect} == acts - {fragile}
    assert len(confirmed(verdict)) == len(acts - {fragile})


def test_where_the_sham_changes_something_nothing_is_confirmed() -> None:
    acts = frozenset(["TZ"])
    verdict, _, reading = explained(World(acts=acts, sham=True))
    assert reading is not None and confirmed(verdict) == []
