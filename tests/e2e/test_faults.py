"""SIGKILL in mid-run: the audit ends with the verdict and the chains of an undisturbed one; nothing acknowledged is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from house import House, catalog, wait_for


def chains(house: House, audit: str) -> dict[str, Any]:
    """Label -> what the seals say of every stream, for all runs of an audit."""
    runs = json.loads(house.detctl("runs", "--audit", audit, "--json", check=True).stdout)["runs"]
    found = {}
    for run in runs:
        shown = json.loads(house.detctl("show", run["id"], "--json", check=True).stdout)
        found[run["label"]] = [(seal["rank"], seal["streams"]) for seal in shown["run"]["seals"].values()]
    return found


def started(house: House, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "detctl_cli.main", "audit", *arguments, "--json"],
        env=house.environment, cwd=house.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def some_records(house: House) -> bool:
    listed = json.loads(house.detctl("runs", "--json").stdout or "{}").get("runs", [])
    return any(run["state"] == "running" and run["records"] > 0 for run in listed)


@pytest.mark.slow
def test_kills_in_mid_run(tmp_path: Path, numbers: Path, redis: Any) -> None:
    house = House(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0")
    text = catalog(numbers, arguments="--pause 0.1").replace("steps = 6", "steps = 30")

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
        undisturbed = house.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", exit_code=0)
        expected = chains(house, undisturbed["audit"])
        for victim in ("coordinator", "agent-gpu1", "store"):
            audit = started(house, "mlp", "--machines", "gpu1", "--twins", "2")
            wait_for("records of the audit arrived", lambda: some_records(house))
            kill(victim)
            out, errors = audit.communicate(timeout=240)
            assert audit.returncode == 0, victim + out + errors + house.logs()
            verdict = json.loads(out)
            assert verdict["outcome"] == "identical", victim
            assert chains(house, verdict["audit"]) == expected, victim
    finally:
        house.close()
