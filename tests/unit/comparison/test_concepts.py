"""docs/concepts.md lists the stages and their parents as the comparison uses them."""

from __future__ import annotations

import re
from pathlib import Path

from detctl_coordinator.comparison.roots import PARENTS

CONCEPTS = Path(__file__).resolve().parents[3] / "docs" / "concepts.md"


def test_stages_and_parents_are_those_of_the_comparison() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", CONCEPTS.read_text(), re.MULTILINE)
    documented = {stage: tuple(re.findall(r"`(\w+)`", parents)) for stage, parents in rows}
    assert documented == {stage.word: tuple(p.word for p in parents) for stage, parents in PARENTS.items()}
