"""Two coordinators on one Redis: one is killed in mid-run, agents and command line go on by the other; nothing lost, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment, wait_for


@pytest.mark.slow
def test_one_of_two_replicas_is_killed_under_load(tmp_path: Path, numbers: Path, redis: Any) -> None:
    deployment = Deployment(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0")
    first, second = deployment.address, f"unix:{deployment.run_dir}/second.sock"
    try:
        deployment.coordinator()
        deployment.start("second", "detctl_coordinator.main", "--listen", second, "--store", deployment.store)
        wait_for("the second answers", lambda: deployment.detctl("--coordinator", second, "machines").returncode == 0)
        deployment.address = deployment.environment["DETCTL_COORDINATOR"] = f"{first},{second}"
        text = deployment.gated(numbers)
        for name in ("gpu1", "gpu2"):
            deployment.agent(name, text)
        audit = deployment.audit("mlp", "--machines", "gpu1,gpu2", "--twins", "2")
        deployment.until_training(audit, "gpu1", "gpu2")
        deployment.gate.touch()
        deployment.kill("coordinator")
        out, errors = audit.communicate(timeout=240)
        assert audit.returncode == 0, out + errors + deployment.logs()
        assert json.loads(out)["outcome"] == "identical"
        runs = json.loads(deployment.detctl("runs", "--json").stdout)["runs"]
        assert [(run["state"], run["attempt"]) for run in runs] == [("sealed", 1)] * 4, "nobody trained twice"
        entries = json.loads(deployment.detctl("log", "--json").stdout)["entries"]
        told = [one["event"] for one in entries]
        assert told.count("run-assigned") == told.count("run-ended") == 4 and told.count("audit-done") == 1
        assert [one["number"] for one in entries] == list(range(len(entries), 0, -1))
    finally:
        deployment.close()
