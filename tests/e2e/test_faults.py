"""SIGKILL in mid-run: the run ends with the chains of its undisturbed twin, the audit as if nothing had been; nothing is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from house import House


def chains(house: House, audit: str) -> dict[str, Any]:
    """Label -> what the seals say of every stream, for all runs of an audit."""
    runs = json.loads(house.detctl("runs", "--audit", audit, "--json", check=True).stdout)["runs"]
    found = {}
    for run in runs:
        shown = json.loads(house.detctl("show", run["id"], "--json", check=True).stdout)
        found[run["label"]] = [(seal["rank"], seal["streams"]) for seal in shown["run"]["seals"].values()]
    return found


@pytest.mark.slow
def test_kills_in_mid_run(tmp_path: Path, numbers: Path, redis: Any) -> None:
    house = House(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0")
    text = house.gated(numbers)

    def kill(victim: str) -> None:
        if victim == "store":
            redis.kill()
            redis.start()
        elif victim == "coordinator":
            house.kill("coordinator")
            house.coordinator()
        else:
            house.kill("agent-gpu1")
            house.agent("gpu1", text)

    try:
        house.coordinator()
        house.agent("gpu1", text)
        expected = None
        for victim in ("coordinator", "agent-gpu1", "store"):
            house.gate.unlink(missing_ok=True)
            audit = house.audit("mlp", "--machines", "gpu1", "--twins", "2")
            house.until_training(audit, "gpu1")
            kill(victim)
            house.gate.touch()
            out, errors = audit.communicate(timeout=240)
            assert audit.returncode == 0, victim + out + errors + house.logs()
            verdict = json.loads(out)
            assert verdict["outcome"] == "identical", victim
            disturbed, undisturbed = chains(house, verdict["audit"]).values()
            assert disturbed == undisturbed == (expected or undisturbed), victim
            expected = undisturbed
    finally:
        house.close()
