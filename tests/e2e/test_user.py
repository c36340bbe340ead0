"""Audits whose trainings run as another user than the agent: PyTorch, through the commands that users type. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, catalog, make_numbers

from tests.support import opened

WHY_NOT = opened.why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


class OpenedHouse(House):
    """Its agents' trainings can reach the interpreter of the tests."""

    def within(self, host: str) -> list[str]:
        return opened.opened() if host else []


@pytest.fixture
def house() -> Iterator[OpenedHouse]:
    folder = Path(tempfile.mkdtemp(prefix="detctl-user-", dir="/tmp"))
    folder.chmod(0o755)
    house = OpenedHouse(folder)
    house.run_dir.chmod(0o711)
    try:
        house.coordinator()
        yield house
    finally:
        house.close()
        shutil.rmtree(folder)


def test_twins_of_another_user_are_identical(house: OpenedHouse) -> None:
    """A number without an entry in passwd: libraries that ask for the user's name or home find none."""
    data = make_numbers(house.folder / "numbers")
    house.agent("gpu1", 'user = "54321"\n' + catalog(data))
    verdict = house.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=0)
    assert verdict["outcome"] == "identical"
    runs = json.loads(house.detctl("runs", "--json").stdout)["runs"]
    assert len(runs) == 2 and all(run["records"] > 100 for run in runs)
    for run in (house.folder / "agent-gpu1" / "runs").iterdir():
        assert run.stat().st_mode & 0o077 == 0
        assert all(entry.stat().st_uid == os.getuid() for entry in run.iterdir())
    house.kill("agent-gpu1", 15)
