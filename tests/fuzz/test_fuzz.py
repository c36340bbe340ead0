"""Every fuzz target still runs and finds nothing in a few seconds; `make fuzz` gives them longer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run_fuzz import HERE, TARGETS, fuzz

SECONDS = 3
SEEDS = HERE / "seeds"
# Not imported: it is for the targets' own processes.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python: pip install atheris"
)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_runs_and_nothing_crashes(name: str, tmp_path: Path) -> None:
    assert list((SEEDS / name).iterdir()), "no seeds"
    fuzzed = fuzz(name, SECONDS, tmp_path)
    assert fuzzed.crashes == 0, fuzzed.report
    assert fuzzed.executed > 0, fuzzed.report


def test_no_seeds_without_a_target() -> None:
    assert {folder.name for folder in SEEDS.iterdir()} == set(TARGETS)
