"""The guide's own story: `transform_type: auto`, a dataset from elsewhere that draws by itself, and unsorted files, at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from deployment import Deployment

pytestmark = [pytest.mark.slow, pytest.mark.soak]
EXAMPLES = Path(__file__).parents[2] / "examples"


def recipe(data: Path, threads: int) -> str:
    return (
        '[recipes.siamese]\ncommand = ["python", "train.py", "--data", "{data}", "--steps", "4"]\n'
        f'folder = "{EXAMPLES / "siamese"}"\ntimeout_s = 240\npaths = ["data"]\n'
        f'[recipes.siamese.parameters]\ndata = "{data}"\n'
        f'[environments.default]\npython = "{sys.executable}"\nvariables = {{ OMP_NUM_THREADS = "{threads}" }}\n'
    )


def test_three_causes_three_fixes(deployment: Deployment, tmp_path: Path, in_memory: Callable[[str], Path]) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core: `auto` resolves alike everywhere")
    on_disk, memory = tmp_path / "digits", in_memory("digits")
    subprocess.run([sys.executable, EXAMPLES / "digits" / "prepare.py", on_disk], check=True, capture_output=True)
    shutil.copytree(on_disk, memory, dirs_exist_ok=True)
    if os.listdir(on_disk / "train") == os.listdir(memory / "train"):
        pytest.skip("both file systems list alike here")
    deployment.agent("gpu1", recipe(on_disk, 2))
    deployment.agent("gpu2", recipe(memory, 1))
    page = tmp_path / "siamese.html"
    command = (
        "audit",
        "siamese",
        "--machines",
        "gpu1,gpu2",
        "--twins",
        "2",
        "--no-zoom",
        "--explain",
        "--html",
        str(page),
    )
    verdict = deployment.verdict(*command, exit_code=1, timeout_s=900)
    told = {cause["cause"]: cause for cause in verdict["causes"]}
    assert {cause["confidence"] for cause in verdict["causes"]} == {"confirmed"}, verdict
    assert set(told) == {"unseeded-rng", "filesystem-order", "config-drift"}, verdict
    assert "pairs.py:19" in told["unseeded-rng"]["fix"]
    assert "pairs.py:16" in told["filesystem-order"]["fix"]
    assert "OMP_NUM_THREADS" in told["config-drift"]["fix"]
    assert verdict["cheapest_fix"]["suffices"]
    assert "config-drift" in page.read_text()
