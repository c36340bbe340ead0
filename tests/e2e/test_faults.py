"""SIGKILL in mid-run: the run ends with the chains of its undisturbed twin, the audit as if nothing had been; nothing is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment


def chains(deployment: Deployment, audit: str) -> dict[str, Any]:
    """Label -> what the seals say of every stream, for all runs of an audit."""
    runs = json.loads(deployment.detctl("runs", "--audit", audit, "--json", check=True).stdout)["runs"]
    found = {}
    for run in runs:
        shown = json.loads(deployment.detctl("show", run["id"], "--json", check=True).stdout)
        found[run["label"]] = [(seal["rank"], seal["streams"]) for seal in shown["run"]["seals"].values()]
    return found


@pytest.mark.slow
def test_kills_in_mid_run(tmp_path: Path, numbers: Path, redis: Any) -> None:
    deployment = Deployment(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0")
    text = deployment.gated(numbers)

    def kill(victim: str) -> None:
        if victim == "store":
            redis.kill()
            redis.start()
        elif victim == "coordinator":
            deployment.kill("coordinator")
            deployment.coordinator()
        else:
            deployment.kill("agent-gpu1")
            deployment.agent("gpu1", text)

    try:
        deployment.coordinator()
        deployment.agent("gpu1", text)
        expected = None
        for victim in ("coordinator", "agent-gpu1", "store"):
            deployment.gate.unlink(missing_ok=True)
            audit = deployment.audit("mlp", "--machines", "gpu1", "--twins", "2")
            deployment.until_training(audit, "gpu1")
            kill(victim)
            deployment.gate.touch()
            out, errors = audit.communicate(timeout=240)
            assert audit.returncode == 0, victim + out + errors + deployment.logs()
            verdict = json.loads(out)
            assert verdict["outcome"] == "identical", victim
            disturbed, undisturbed = chains(deployment, verdict["audit"]).values()
            assert disturbed == undisturbed == (expected or undisturbed), victim
            expected = undisturbed
    finally:
        deployment.close()
