"""A machine stalls, a store forgets, a replica dies: the audit ends well or says that it did not; after a loss the next one works."""

from __future__ import annotations

import functools
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment, wait_for

FLAGS = ["--lease", "3", "--heartbeat", "0.5", "--machine-timeout", "60"]
AUDIT = ("mlp", "--machines", "gpu1", "--twins", "1")


def a_fresh_audit_works(deployment: Deployment) -> None:
    deployment.verdict("audit", "mlp", "--machines", "gpu1", "--twins", "2", "--steps", "0:2", exit_code=0)


@pytest.mark.slow
def test_redis_is_emptied_in_mid_run(tmp_path: Path, numbers: Path, redis: Any) -> None:
    import redis as client

    deployment = Deployment(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0", coordinator_options=FLAGS)
    try:
        deployment.coordinator()
        deployment.agent("gpu1", deployment.gated(numbers))
        audit = deployment.audit(*AUDIT)
        deployment.until_training(audit, "gpu1")
        client.Redis(port=redis.port).flushall()
        deployment.gate.touch()
        out, errors = audit.communicate(timeout=120)
        assert audit.returncode == 3, out + errors
        assert "has lost audit" in json.loads(out)["error"]["message"]
        wait_for("the agent is back in the empty store", lambda: deployment.machine("gpu1").get("connected"))
        a_fresh_audit_works(deployment)
    finally:
        deployment.close()


@pytest.mark.slow
def test_the_store_is_deleted_in_mid_run(tmp_path: Path, numbers: Path) -> None:
    deployment = Deployment(tmp_path, coordinator_options=FLAGS)
    try:
        deployment.coordinator()
        deployment.agent("gpu1", deployment.gated(numbers))
        audit = deployment.audit(*AUDIT)
        deployment.until_training(audit, "gpu1")
        for file in tmp_path.glob("store.db*"):
            file.unlink()
        deployment.gate.touch()
        why = "deleted or replaced while it was open"
        wait_for("it is said", lambda: why in deployment.detctl("machines").stderr)
        deployment.kill("coordinator", signal.SIGTERM)
        deployment.coordinator()
        out, errors = audit.communicate(timeout=120)
        assert audit.returncode == 3 and why in errors, out + errors
        assert "has lost audit" in json.loads(out)["error"]["message"]
        wait_for("the agent is back in the new store", lambda: deployment.machine("gpu1").get("connected"))
        a_fresh_audit_works(deployment)
    finally:
        deployment.close()


@pytest.mark.slow
def test_an_agent_that_was_stopped_for_longer_than_its_lease(tmp_path: Path, numbers: Path) -> None:
    deployment = Deployment(tmp_path, coordinator_options=FLAGS)
    try:
        deployment.coordinator()
        deployment.agent("gpu1", deployment.gated(numbers))
        audit = deployment.audit(*AUDIT)
        deployment.until_training(audit, "gpu1")
        deployment.processes["agent-gpu1"].send_signal(signal.SIGSTOP)
        listed = lambda: json.loads(deployment.detctl("runs", "--json").stdout)["runs"]  # noqa: E731
        wait_for("the lease ends", lambda: listed()[0]["state"] == "waiting")
        deployment.processes["agent-gpu1"].send_signal(signal.SIGCONT)
        deployment.gate.touch()
        out, errors = audit.communicate(timeout=120)
        assert audit.returncode == 3, out + errors  # one run alone is compared with nothing
        run = listed()[0]
        assert (run["state"], run["attempt"]) == ("sealed", 2), run
    finally:
        deployment.close()


@pytest.mark.slow
def test_the_replica_with_the_agent_dies_and_comes_back_while_another_lives(
    tmp_path: Path, numbers: Path, redis: Any
) -> None:
    deployment = Deployment(tmp_path, store=f"redis://127.0.0.1:{redis.port}/0", coordinator_options=FLAGS)
    try:
        deployment.coordinator()
        second = deployment.run_dir / "second.sock"
        deployment.start(
            "second", "detctl_coordinator.main", "--listen", f"unix:{second}", "--store", deployment.store, *FLAGS
        )  # fmt: skip
        deployment.agent("gpu1", deployment.gated(numbers))
        other = functools.partial(deployment.detctl, "--coordinator", f"unix:{second}")
        wait_for("the second answers", lambda: other("machines").returncode == 0)
        audit = deployment.audit(*AUDIT, "--coordinator", f"unix:{second}")
        deployment.until_training(audit, "gpu1")
        deployment.kill("coordinator")
        wait_for("the lease ends", lambda: json.loads(other("runs", "--json").stdout)["runs"][0]["state"] == "waiting")
        deployment.gate.touch()
        deployment.coordinator()
        out, errors = audit.communicate(timeout=120)
        assert audit.returncode == 3, out + errors
        run = json.loads(other("runs", "--json").stdout)["runs"][0]
        assert (run["state"], run["attempt"]) == ("sealed", 2), run
    finally:
        deployment.close()
