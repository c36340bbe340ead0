"""Two coordinators on one Redis: one is killed in mid-run, agents and command line go on by the other; nothing lost, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from house import House, wait_for


@pytest.mark.slow
def test_one_of_two_replicas_is_killed_under_load(tmp_path: Path, numbers: Path, redis: Any) -> None:
    house = House(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0")
    first, second = house.address, f"unix:{house.run_dir}/second.sock"
    try:
        house.coordinator()
        house.start("second", "detctl_coordinator.main", "--listen", second, "--store", house.store)
        wait_for("the second answers", lambda: house.detctl("--coordinator", second, "machines").returncode == 0)
        house.address = house.environment["DETCTL_COORDINATOR"] = f"{first},{second}"
        text = house.gated(numbers)
        for name in ("gpu1", "gpu2"):
            house.agent(name, text)
        audit = house.audit("mlp", "--machines", "gpu1,gpu2", "--twins", "2")
        house.until_training(audit, "gpu1", "gpu2")
        house.gate.touch()
        house.kill("coordinator")
        out, errors = audit.communicate(timeout=240)
        assert audit.returncode == 0, out + errors + house.logs()
        assert json.loads(out)["outcome"] == "identical"
        runs = json.loads(house.detctl("runs", "--json").stdout)["runs"]
        assert [(run["state"], run["attempt"]) for run in runs] == [("sealed", 1)] * 4, "nobody trained twice"
        entries = json.loads(house.detctl("log", "--json").stdout)["entries"]
        told = [one["event"] for one in entries]
        assert told.count("run-assigned") == told.count("run-ended") == 4 and told.count("audit-done") == 1
        assert [one["number"] for one in entries] == list(range(len(entries), 0, -1))
    finally:
        house.close()
