"""Known answers in a manifest: asked once an environment, kept, and said where nobody can answer."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from detctl_agent.manifest.known_answers import KnownAnswers, known_answers
from detctl_probe import stage


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": stage.stage(str(tmp_path / "probe")),
        "OMP_NUM_THREADS": "1",
        "HOME": "/nowhere",
    }


def test_an_environment_is_asked_once_and_another_instruction_set_is_another_class(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    cache = tmp_path / "known"
    first = known_answers(sys.executable, variables, KnownAnswers(cache))
    assert len(first["class"]) == 12 and "cpu/gemm" in first["answers"]
    begun = time.monotonic()
    again = known_answers(
        sys.executable, {**variables, "HOME": "/elsewhere", "DETCTL_PROBE": "{}"}, KnownAnswers(cache)
    )
    assert again == first and time.monotonic() - begun < 1, "kept"
    old = known_answers(sys.executable, {**variables, "ATEN_CPU_CAPABILITY": "default"}, KnownAnswers(cache))
    assert old["class"] != first["class"] and len(list(cache.iterdir())) == 2
    for file in cache.iterdir():
        file.write_text("{")
    assert known_answers(sys.executable, variables, KnownAnswers(cache)) == first, "a damaged file is asked anew"


def test_who_cannot_answer_says_so_and_is_asked_again(tmp_path: Path, variables: dict[str, str]) -> None:
    found = known_answers("/bin/false", variables, KnownAnswers(tmp_path / "known"))
    assert found["class"] == "" and "may have no torch" in found["why"]
    assert not (tmp_path / "known").exists()
    json.dumps(found)
