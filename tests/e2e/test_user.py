"""Audits whose trainings run as another user than the agent: PyTorch, through the commands that users type. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Deployment, catalog, make_numbers

from tests.support import opened

WHY_NOT = opened.why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


class OpenedDeployment(Deployment):
    """Its agents' trainings can reach the interpreter of the tests."""

    def within(self, host: str) -> list[str]:
        return opened.opened() if host else []


@pytest.fixture
def deployment() -> Iterator[OpenedDeployment]:
    folder = Path(tempfile.mkdtemp(prefix="detctl-user-", dir="/tmp"))
    folder.chmod(0o755)
    deployment = OpenedDeployment(folder)
    deployment.run_dir.chmod(0o711)
    try:
        deployment.coordinator()
        yield deployment
    finally:
        deployment.close()
        shutil.rmtree(folder)


def test_twins_of_another_user_are_identical(deployment: OpenedDeployment) -> None:
    """A number without an entry in passwd: libraries that ask for the user's name or home find none."""
    data = make_numbers(deployment.folder / "numbers")
    deployment.agent("gpu1", 'user = "54321"\n' + catalog(data))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=0)
    assert verdict["outcome"] == "identical"
    runs = json.loads(deployment.detctl("runs", "--json").stdout)["runs"]
    assert len(runs) == 2 and all(run["records"] > 100 for run in runs)
    for run in (deployment.folder / "agent-gpu1" / "runs").iterdir():
        assert run.stat().st_mode & 0o077 == 0
        assert all(entry.stat().st_uid == os.getuid() for entry in run.iterdir())
    deployment.kill("agent-gpu1", 15)
