"""The main job through the commands that users type: two machines, a verdict, and equality where it should be."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
from deployment import Deployment, catalog, make_numbers

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "verdict.schema.json").read_text())


def first_cause(verdict: dict) -> tuple[str, str, str]:
    cause = verdict["causes"][0]
    return cause["cause"], cause["origin"], cause["stage"]


def test_file_order_between_disk_and_memory(
    deployment: Deployment, numbers: Path, in_memory: Callable[[str], Path]
) -> None:
    memory = make_numbers(in_memory("numbers"))
    if os.listdir(numbers) == os.listdir(memory):
        memory = in_memory("other")
        for name in sorted(os.listdir(numbers), reverse=True):
            memory.mkdir(exist_ok=True)
            (memory / name).write_text((numbers / name).read_text())
    deployment.agent("disk", catalog(numbers))
    deployment.agent("memory", catalog(memory))

    verdict = deployment.verdict("audit", "mlp", "--machines", "disk,memory", "--twins", "2", exit_code=1)
    jsonschema.validate(verdict, SCHEMA)
    assert verdict["outcome"] == "different" and verdict["origin"] == "environment"
    assert first_cause(verdict) == ("filesystem-order", "environment", "listing")
    assert verdict["causes"][0]["kind"] == "permutation"
    assert any("train.py:" in line for line in verdict["causes"][0]["evidence"])
    assert sorted(len(group) for group in verdict["groups"]) == [2, 2]

    again = deployment.detctl("compare", "--machines", "disk,memory")
    assert again.returncode == 1 and "filesystem-order" in again.stdout

    sorted_ = deployment.verdict(
        "audit", "mlp", "--machines", "disk,memory", "--twins", "2", "--set", "listing=sorted", exit_code=0
    )
    assert sorted_["outcome"] == "identical" and not sorted_["unverified_because"]


def test_paths_are_not_identity(deployment: Deployment, numbers: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "quite" / "elsewhere"
    elsewhere.mkdir(parents=True)
    for name in sorted(os.listdir(numbers)):
        (elsewhere / name).write_text((numbers / name).read_text())
    deployment.agent("gpu1", catalog(numbers, arguments="--sort --by-hand"))
    deployment.agent("gpu2", catalog(elsewhere, arguments="--sort --by-hand"))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "2", exit_code=0)
    assert verdict["outcome"] == "identical" and verdict["first_divergence"] is None


def test_emulated_cpu_is_hardware(deployment: Deployment, numbers: Path) -> None:
    old = (
        '[environments.old]\npython = "{}"\nvariables = {{ OMP_NUM_THREADS = "1" }}\nemulate = {{ cpu = "default" }}\n'
    )
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand", environments=old.format(sys.executable)))
    verdict = deployment.verdict(
        "audit",
        "mlp",
        "--machines",
        "gpu1",
        "--environments",
        "default,old",
        "--twins",
        "2",
        "--no-zoom",
        exit_code=1,
    )
    assert verdict["origin"] == "hardware"
    assert verdict["causes"][0]["cause"] == "cpu-isa" and verdict["zoom"] is None
    text = deployment.detctl("compare", "--audit", verdict["audit"])
    assert "EMULATED" in text.stdout


def test_unseeded_is_code_with_file_and_line(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--unseeded"))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=1)
    assert verdict["origin"] == "code"
    assert first_cause(verdict)[0] == "unseeded-rng"
    assert any("train.py" in line for line in verdict["causes"][0]["evidence"])


def test_workers_with_random_samples(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--noise --by-hand"))
    verdict = deployment.verdict(
        "audit", "mlp", "--machines", "gpu1", "--twins", "2", "--vary", "workers=0,2", "--no-zoom", exit_code=1
    )
    assert first_cause(verdict)[:2] == ("worker-count", "environment")


def test_workers_without_randomness_are_benign(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand"))
    verdict = deployment.verdict(
        "audit", "mlp", "--machines", "gpu1", "--twins", "2", "--vary", "workers=0,2", exit_code=0
    )
    assert verdict["outcome"] == "identical"


def test_one_extra_record(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--by-hand"))
    deployment.agent("gpu2", catalog(numbers, arguments="--by-hand --extra-at 3"))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "2", "--no-zoom", exit_code=0)
    assert verdict["updates_equal"] and [
        (one["stage"], one["step"]) for one in verdict["benign"] if one["stage"] != "code"
    ] == [("forward", 3)]
    verdict = deployment.verdict("compare", "--audit", verdict["audit"], "--strict", exit_code=1)
    (cause,) = verdict["causes"]
    assert (cause["stage"], cause["step"], cause["kind"]) == ("forward", 3, "structure")
    assert cause["lasting"] == "transient" and "equal again from step 4 on" in cause["words"]
    assert cause["carried_on_to"] == []
    groups = verdict["groups_by_stage"]
    assert {stage for stage in groups if len(groups[stage]) > 1} == {"code", "forward"}
    text = deployment.detctl("compare", "--audit", verdict["audit"], "--strict").stdout
    assert "equal again from step 4 on" in text


def test_a_twin_never_sees_the_others_checkpoint(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers, arguments="--resume state.pt"))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", "--to-end", exit_code=0)
    assert verdict["outcome"] == "identical"
