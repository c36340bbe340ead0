"""`detctl audit` of a machine whose agent trains each run as a Job: real coordinator, agent, recorders and torch; the cluster is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from deployment import Deployment, catalog, wait_for

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_cluster import FakeCluster

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "kubernetes" / "overlays" / "launcher" / "job.yaml"


def test_twins_that_are_jobs_are_compared_as_any_others(deployment: Deployment, numbers: Path, tmp_path: Path) -> None:
    cluster = FakeCluster(tmp_path, {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    deployment.environment |= {"KUBECONFIG": str(cluster.config), "DETCTL_AGENT_JOBS": str(TEMPLATE)}
    try:
        deployment.agent("cluster1", catalog(numbers, environments='[environments.pod]\nimage = "train:1"'))
        verdict = deployment.verdict(
            "audit", "mlp", "--machines", "cluster1", "--environments", "pod", "--twins", "2", "--steps", "0:4", exit_code=0
        )  # fmt: skip
        assert verdict["groups"] == [[f"cluster1/pod/base/twin-{twin}" for twin in (0, 1)]]
        assert {"sample", "forward", "update"} <= set(verdict["coverage"]["stages"])
        assert len(cluster.jobs) == 2
        wait_for("the last Job is deleted", lambda: not cluster.pods)
    finally:
        cluster.close()
