"""Outcome, origin, reasons; what makes a run unverified; the published schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from detctl_coordinator.attribution.evidence.cause_origins import CAUSES
from detctl_coordinator.attribution.evidence.settings.suspects import family_of, suspects_of
from detctl_coordinator.attribution.verdict.bounds import divergence_rate_bound, format_bound
from detctl_coordinator.domain.fingerprint import Stage, StreamKey
from detctl_coordinator.domain.run import RunOutcome, RunState
from detctl_coordinator.domain.verdict import Verdict, json_schema

from tests.support.judged_runs import MODEL, judged
from tests.support.memory_runs import MemoryRun, RunBuilder

DOCS = Path(__file__).parents[3] / "docs"


def twins(count: int = 3, machine: str = "gpu1") -> list[MemoryRun]:
    return [RunBuilder(machine, twin).train().build() for twin in range(count)]


def test_clean_twins_are_identical_and_the_verdict_gives_the_bound() -> None:
    verdict = judged(*twins())
    assert (verdict.outcome, verdict.exit_code, verdict.origin) == ("identical", 0, None)
    assert verdict.unverified_because == [] and len(verdict.groups) == 1
    assert set(verdict.coverage.stages) >= {"init", "batch", "loss", "backward", "update"}
    assert "collective" in verdict.coverage.not_observed
    assert any("63 %" in note for note in verdict.notes)


def test_bounds_are_those_of_the_documentation() -> None:
    assert [round(divergence_rate_bound(k), 3) for k in (3, 10, 50)] == [0.632, 0.259, 0.058]
    assert "5.8 %" in format_bound(50)


def test_json_fits_the_published_schema_which_is_current() -> None:
    published = (DOCS / "verdict.schema.json").read_text()
    assert published == json_schema(), "run: python -m detctl_coordinator.domain.verdict > docs/verdict.schema.json"
    bad = RunBuilder("gpu1", 2).train().carry("init", *MODEL).build()
    for verdict in (judged(*twins()), judged(*twins(2), bad), judged()):
        value = json.loads(verdict.to_json())
        jsonschema.validate(value, json.loads(published))
        assert value["schema"] == "detctl.verdict/v1"
        assert Verdict.from_json(verdict.to_json()) == verdict


def test_every_word_has_its_row_in_the_documentation() -> None:
    text = (DOCS / "causes.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == set(CAUSES)


def test_one_run_has_nothing_to_compare_with() -> None:
    verdict = judged(*twins(1))
    assert verdict.outcome == "unverified" and "--twins" in verdict.unverified_because[0]


def test_no_runs_at_all() -> None:
    assert judged(machines=("gpu1",)).outcome == "unverified"


@pytest.mark.parametrize("stage", ["init", "batch", "loss", "backward", "update"])
def test_a_missing_stage_is_named(stage: str) -> None:
    verdict = judged(*(RunBuilder("gpu1", t).train().drop(stage).build() for t in (0, 1)))
    assert verdict.outcome == "unverified"
    assert any(f"stage {stage}" in reason for reason in verdict.unverified_because)


def test_two_runs_that_crashed_alike_are_unverified() -> None:
    verdict = judged(*(RunBuilder("gpu1", t).train().ended("exit", 1).build() for t in (0, 1)))
    assert verdict.outcome == "unverified"
    assert "exit code 1 after 4 finished steps" in verdict.unverified_because[0]


def test_a_shown_difference_beats_a_missing_run() -> None:
    lost = RunBuilder("gpu1", 2).train().build()
    lost.run = replace(lost.run, state=RunState.FAILED, message="agent lost")
    lost.index, lost.sealed = {}, {}
    odd = RunBuilder("gpu1", 1).train().carry("init", *MODEL).build()
    verdict = judged(*twins(1), odd, lost)
    assert verdict.outcome == "different" and "agent lost" in verdict.unverified_because[0]
    assert judged(*twins(2), lost).outcome == "unverified"


def test_twins_that_crash_but_part_before_are_different() -> None:
    a = RunBuilder("gpu1", 0).train().ended("exit", 1).build()
    b = RunBuilder("gpu1", 1).train().carry("init", *MODEL).ended("exit", 1).build()
    verdict = judged(a, b)
    assert verdict.outcome == "different" and len(verdict.unverified_because) == 2


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (RunOutcome("timeout"), "time limit"),
        (RunOutcome("lost"), "lost"),
        (RunOutcome("disk-full"), "disk"),
        (RunOutcome("exit", -9), "signal 9"),
    ],
)
def test_how_a_run_ended(outcome: RunOutcome, expected: str) -> None:
    bad = RunBuilder("gpu1", 1).train().build()
    bad.run = replace(bad.run, outcome=outcome)
    verdict = judged(*twins(1), bad)
    assert verdict.outcome == "unverified" and expected in verdict.unverified_because[0]


def test_no_probe() -> None:
    silent = RunBuilder("gpu1", 1).build()
    verdict = judged(*twins(1), silent)
    assert verdict.outcome == "unverified" and "no probe" in verdict.unverified_because[0]


def test_an_agreed_stop_is_no_failure() -> None:
    runs = [RunBuilder("gpu1", t).train(5 + t).ended("stop", -15, "stop").build() for t in (0, 1)]
    verdict = judged(*runs)
    assert verdict.outcome == "identical" and verdict.coverage.steps == [0, 5]
    assert [note for note in verdict.notes if "first 5" in note] == [
        "The runs stopped early because the result of every stage was known; the first 5 steps were compared. --to-end continues."
    ]


@pytest.mark.parametrize("window", [(0, 32), (0, None)])
def test_the_steps_compared_are_those_that_were_trained(window: tuple[int, int | None]) -> None:
    verdict = judged(*twins(2), window=window)
    assert verdict.coverage.steps == [0, 4]
    assert not any("steps were compared" in note for note in verdict.notes)


def test_runs_that_ended_at_different_steps_are_named_once() -> None:
    ends = [("exit", 0, "exit"), ("exit", 0, "exit"), ("timeout", -9, "lost")]
    runs = [RunBuilder("gpu1", t).train(7 - t).ended(*end).build() for t, end in enumerate(ends)]
    verdict = judged(*runs)
    assert [note for note in verdict.notes if "were compared" in note] == [
        "The runs ended at different steps; the first 5 steps were compared."
    ]


def test_a_window_that_was_not_filled_is_named() -> None:
    runs = [RunBuilder("gpu1", t).train(5).ended("window", -15, "window").build() for t in (0, 1)]
    assert "5 of 32 steps" in judged(*runs, window=(0, 32)).unverified_because[0]
    assert judged(*runs, window=(0, 5)).outcome == "identical"


def test_a_seal_that_does_not_match_is_never_compared() -> None:
    bad = RunBuilder("gpu1", 1).train().carry("init", *MODEL).build()
    key = StreamKey(0, Stage.UPDATE)
    bad.index[key] = bad.index[key][:-1]
    verdict = judged(*twins(1), bad)
    assert verdict.outcome == "unverified" and "3 of 4 steps of update" in verdict.unverified_because[0]


def test_damage_found_while_reading_is_unverified() -> None:
    bad = RunBuilder("gpu1", 1).train().carry("init", *MODEL).build()
    bad.broken = True
    verdict = judged(*twins(1), bad)
    assert verdict.outcome == "unverified" and any("CRC" in r for r in verdict.unverified_because)


def test_problems_of_the_store_are_passed_on() -> None:
    runs = twins(2)
    verdict = judged(*runs, problems={runs[1].run.spec.run_id: ["segment 3 is missing; run it again"]})
    assert verdict.outcome == "unverified" and verdict.unverified_because[0].startswith(
        "gpu1/default/base/twin-1: segment 3"
    )


def test_a_machine_or_twin_that_is_missing() -> None:
    assert "gpu2" in judged(*twins(2), machines=("gpu1", "gpu2")).unverified_because[0]
    assert "2 of 3 twins" in judged(*twins(2), twins=3).unverified_because[0]
    planned = ("gpu1/default/base/twin-0", "gpu1/default/base/twin-1", "gpu1/default/base/twin-2")
    assert "twin-2: planned" in judged(*twins(2), planned=planned).unverified_because[0]


def test_without_twins_origin_is_null_and_the_command_is_named() -> None:
    other = RunBuilder("gpu2").train().fact("torch/cpu_capability", "DEFAULT").carry("init", *MODEL).build()
    verdict = judged(*twins(1), other)
    assert verdict.outcome == "different" and verdict.origin is None
    assert verdict.causes[0].cause == "cpu-isa" and verdict.causes[0].confirmed_by is None
    assert any("detctl audit digits --machines gpu1,gpu2 --twins 3" in line for line in verdict.summary)


def test_two_recordings_of_one_command_are_twins_and_other_commands_are_not() -> None:
    def record(name: str, command: str) -> RunBuilder:
        return RunBuilder("here", audit=name, run_id=name).train().fact("recipe/command", command)

    same = judged(record("one", "train.py").build(), record("two", "train.py").carry("init", *MODEL).build())
    assert same.origin == "code" and len({run for group in same.groups for run in group}) == 2
    other = judged(record("one", "train.py").build(), record("two", "train.py --x").carry("init", *MODEL).build())
    assert other.outcome == "different" and other.origin is None


def test_an_intervention_that_did_not_act_is_reported() -> None:
    def configuration(value: str, acted: bool) -> MemoryRun:
        b = RunBuilder("gpu1", variation=(("probe:workers", value),)).train().asked(interventions={"workers": value})
        b.detail["interventions"] = [{"name": "workers", "value": value, "acted": acted, "detail": "no DataLoader"}]
        return b.build()

    verdict = judged(configuration("0", True), configuration("2", False))
    assert (
        verdict.outcome == "unverified" and "workers=2 had no effect (no DataLoader)" in verdict.unverified_because[0]
    )


def test_paths_and_names_of_machines_are_no_suspects() -> None:
    for key in ("storage.data.path", "machine.hostname", "variables.HOME", "variables.PATH", "recipe.parameters.data"):
        assert family_of(key, {"data"}) is None, key
    for key, family in {
        "variables.OMP_NUM_THREADS": "threads",
        "variables.ATEN_CPU_CAPABILITY": "isa",
        "recipe.parameters.num_workers": "workers",
        "python.packages.torchvision": "library",
        "torch.flags.allow_tf32": "precision",
    }.items():
        assert family_of(key) == family, key
    a, b = RunBuilder("gpu1"), RunBuilder("gpu2").fact("storage/data/path", "/elsewhere")
    assert suspects_of(a.facts, b.facts, a.spec, b.spec) == []


@pytest.mark.parametrize(("stages", "expected"), [(("forward", "loss", "backward", "update"), True), ((), False)])
def test_runs_beside_each_other_are_noted_if_the_load_may_matter(stages: tuple[str, ...], expected: bool) -> None:
    builder = RunBuilder("gpu1", 1).train(4).carry(*stages)
    builder.outcome = replace(builder.outcome, beside=1)
    verdict = judged(RunBuilder("gpu1").train(4).build(), builder.build())
    assert any("1 of 2 runs trained while others" in note for note in verdict.notes) == expected
    assert [run.beside for run in verdict.runs] == [0, 1]
