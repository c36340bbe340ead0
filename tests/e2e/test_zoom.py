"""A divergence in what is computed: the audit runs that step again at level op by itself and names operation, line and size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest
from deployment import RECIPES, Deployment

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "verdict.schema.json").read_text())
SCRIPT = (RECIPES / "planted" / "train.py").read_text().splitlines()


def line_of(text: str) -> str:
    (number,) = [n for n, line in enumerate(SCRIPT, start=1) if text in line]
    return f"{{cwd}}/train.py:{number}"


def catalog(fault: str = "", environments: str = "", *, by_hand: bool = False) -> str:
    more = (f', "--fault", "{fault}"' if fault else "") + (', "--by-hand"' if by_hand else "")
    python = f'python = "{sys.executable}"\nvariables = {{ OMP_NUM_THREADS = "1" }}\n'
    return (
        f'[recipes.planted]\ncommand = ["python", "train.py"{more}]\nfolder = "{RECIPES / "planted"}"\ntimeout_s = 120\n'
        f"[environments.default]\n{python}{environments.format(python=python)}"
    )


def audit(deployment: Deployment, *more: str, twins: int = 2) -> dict:
    verdict = deployment.verdict("audit", "planted", "--twins", str(twins), *more, exit_code=1)
    jsonschema.validate(verdict, SCHEMA)
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "level", "step", "op", "at", "relative"),
    [
        ("flip", "step", 7, "aten.bitwise_xor", "1 << 12", (0.0, 1e-3)),
        ("half", "module", 0, "aten._to_copy.default", "x.bfloat16()", (1e-4, 1e-1)),
        ("rounded", "module", 0, "aten.add.Tensor", "0x1000", (1e-5, 1e-2)),
    ],
)
def test_a_fault_on_one_of_two_machines(
    deployment: Deployment, fault: str, level: str, step: int, op: str, at: str, relative: tuple[float, float]
) -> None:
    by_hand = fault != "flip"  # one with an optimizer of torch
    deployment.agent("gpu1", catalog(by_hand=by_hand))
    deployment.agent("gpu2", catalog(fault, by_hand=by_hand))
    zoom = audit(deployment, "--machines", "gpu1,gpu2", "--level", level, twins=1)["zoom"]
    assert zoom["step"] == step and zoom["level"] == "op", zoom
    assert zoom["op"] and zoom["op"].startswith(op), zoom
    assert line_of(at) in zoom["at"], zoom
    assert relative[0] < zoom["relative"] < relative[1], zoom


@pytest.mark.soak
def test_a_racing_operation_of_twins(deployment: Deployment) -> None:
    deployment.agent("gpu1", catalog("racing"))
    verdict = audit(deployment, "--machines", "gpu1")
    assert verdict["origin"] == "code"
    zoom = verdict["zoom"]
    assert [run.rpartition("/")[2] for run in zoom["runs"]] == ["zoom-0", "zoom-1"]
    assert zoom["stage"] == "forward" and zoom["site"].startswith("root1/act:aten.")
    assert zoom["at"] == [line_of("os.urandom")]
    text = deployment.detctl("compare", "--audit", verdict["audit"]).stdout
    assert "operation" in text and "root1/act:" in text


@pytest.mark.slow
def test_another_cpu_shows_the_operation_and_its_size(deployment: Deployment) -> None:
    deployment.agent(
        "gpu1", catalog(environments='[environments.old]\n{python}emulate = {{ cpu = "default" }}\n', by_hand=True)
    )
    where = ("--machines", "gpu1", "--environments", "default,old")
    verdict = audit(deployment, *where)
    zoom = verdict["zoom"]
    assert verdict["causes"][0]["cause"] == "cpu-isa"
    assert zoom["words"].startswith("the inputs are equal") and 0 < zoom["relative"] < 1e-5 and zoom["ulp"] < 100
    assert [run.rpartition("/")[2] for run in zoom["runs"]] == ["zoom-0", "zoom-0"]


@pytest.mark.slow
def test_equal_runs_are_not_zoomed_into(deployment: Deployment) -> None:
    deployment.agent("gpu1", catalog(by_hand=True))
    assert deployment.verdict("audit", "planted", "--machines", "gpu1", "--twins", "2", exit_code=0)["zoom"] is None
