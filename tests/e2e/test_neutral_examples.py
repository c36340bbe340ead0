"""The probe is neutral: the final weights of each example are bit-equal with and without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deployment import Deployment

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, str(EXAMPLES / "digits" / "prepare.py"), str(folder)], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "arguments"),
    [
        pytest.param("digits", "--data {digits} --workers 0 --steps 3", marks=pytest.mark.soak),
        ("digits", "--data {digits} --workers 2 --steps 3"),
        ("tiny_gpt", "--steps 3"),
    ],
)
def test_weights_are_bit_equal(example: str, arguments: str, digits: Path, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    script = str(EXAMPLES / example / "train.py")
    words = arguments.format(digits=digits).split()
    bare, probed = tmp_path / "bare.pt", tmp_path / "probed.pt"
    environment = {**deployment.environment, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, script, *words, "--save", str(bare)], check=True, env=environment, capture_output=True
    )
    done = deployment.detctl(
        "record", "-o", str(tmp_path / "run"), "--to-end", "--", sys.executable, script, *words, "--save", str(probed),
        env={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left, right = torch.load(bare), torch.load(probed)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
