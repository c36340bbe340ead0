"""The main job with a real redis-server, a coordinator on TCP with its token, and three agents, all separate processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment, catalog, free_port, make_numbers


@pytest.mark.soak  # test_replicas.py has two agents on Redis
def test_three_agents_on_redis(tmp_path: Path, numbers: Path, redis: Any, in_memory: Callable[[str], Path]) -> None:
    deployment = Deployment(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0")
    deployment.address = f"127.0.0.1:{free_port()}"
    deployment.environment["DETCTL_COORDINATOR"] = deployment.address
    memory = in_memory("reversed")
    memory.mkdir()
    for name in reversed(os.listdir(numbers)):
        (memory / name).write_text((numbers / name).read_text())
    if os.listdir(memory) == os.listdir(numbers):
        memory = make_numbers(in_memory("numbers"))
    try:
        deployment.coordinator()
        deployment.agent("gpu1", catalog(numbers))
        deployment.agent("gpu2", catalog(memory))
        deployment.agent("gpu3", catalog(numbers))

        first = deployment.verdict("audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "2", exit_code=1)
        assert first["origin"] == "environment" and first["causes"][0]["cause"] == "filesystem-order"
        again = deployment.verdict("compare", "--machines", "gpu1,gpu2", exit_code=1)
        assert again["audit"] == first["audit"] and again["groups"] == first["groups"]

        three = deployment.verdict("audit", "mlp", "--machines", "gpu1,gpu2,gpu3", "--twins", "1", exit_code=1)
        assert [sorted({run.split("/")[0] for run in group}) for group in three["groups"]] == [
            ["gpu1", "gpu3"],
            ["gpu2"],
        ]

        deployment.verdict(
            "audit", "mlp", "--machines", "gpu1,gpu2", "--twins", "1", "--set", "listing=sorted", exit_code=0
        )

        token = tmp_path / "state" / "detctl" / "token"
        assert token.stat().st_mode & 0o777 == 0o600
        stranger = deployment.detctl("machines", env={"XDG_STATE_HOME": str(tmp_path / "nobody")})
        assert stranger.returncode == 2 and "token" in stranger.stderr
    finally:
        deployment.close()


@pytest.mark.soak
def test_no_false_alarm_in_55_comparisons(deployment: Deployment, numbers: Path) -> None:
    """11 twins make 55 pairs; no alarm bounds the rate of false ones at 1 - 0.05^(1/55) = 5.3 % a comparison (95 %)."""
    deployment.agent("gpu1", catalog(numbers, arguments="--noise"))
    verdict = deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "11", exit_code=0)
    assert verdict["outcome"] == "identical" and len(verdict["groups"]) == 1 and len(verdict["groups"][0]) == 11
    assert verdict["benign"] == [] and verdict["unverified_because"] == []
    assert any("24 %" in note for note in verdict["notes"])  # 1 - 0.05^(1/11)
