"""Real numerics of this CPU and real library versions, told apart."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from deployment import Deployment, catalog

from tests.support.older_torch import older_torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def tiny_gpt(environments: str) -> str:
    return f"""
[recipes.tiny_gpt]
command = ["python", "train.py", "--steps", "4"]
folder = "{EXAMPLES / "tiny_gpt"}"
timeout_s = 200
{environments}
"""


def environment(name: str, python: str = sys.executable, threads: int = 1, more: str = "") -> str:
    return f'[environments.{name}]\npython = "{python}"\nvariables = {{ OMP_NUM_THREADS = "{threads}" }}\n{more}\n'


@pytest.mark.soak
def test_threads_1_against_2(deployment: Deployment) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core: OMP_NUM_THREADS=2 changes nothing here")
    deployment.agent("gpu1", tiny_gpt(environment("one") + environment("two", threads=2)))
    verdict = deployment.verdict(
        "audit", "tiny_gpt", "--machines", "gpu1", "--environments", "one,two", "--twins", "2", "--no-zoom", exit_code=1
    )
    assert verdict["origin"] == "environment"
    assert verdict["causes"][0]["cause"] == "thread-count"


@pytest.mark.slow
@pytest.mark.timeout(900)  # the older torch is installed first
def test_two_torch_versions(deployment: Deployment) -> None:
    other = older_torch()
    deployment.agent("gpu1", tiny_gpt(environment("newest") + environment("torch213", python=other)))
    verdict = deployment.verdict(
        "audit", "tiny_gpt", "--machines", "gpu1", "--environments", "newest,torch213", "--twins", "2", "--no-zoom"
    )
    # Whether the two versions agree bit for bit is theirs to decide; what detctl says must fit what it saw.
    if verdict["outcome"] == "different":
        assert verdict["origin"] == "environment"
        assert verdict["causes"][0]["cause"] == "library-version"
        assert any("2.13.0" in line for line in verdict["causes"][0]["evidence"])
    else:
        assert verdict["outcome"] == "identical" and not verdict["causes"]


@pytest.mark.soak
def test_manual_isa_is_environment(deployment: Deployment, numbers: Path) -> None:
    deployment.agent("gpu1", catalog(numbers))
    verdict = deployment.verdict(
        "audit",
        "mlp",
        "--machines",
        "gpu1",
        "--twins",
        "2",
        "--vary",
        "env:ATEN_CPU_CAPABILITY=default,avx2",
        "--no-zoom",
        exit_code=1,
    )
    assert verdict["origin"] == "environment"
    assert verdict["causes"][0]["cause"] == "cpu-isa"
