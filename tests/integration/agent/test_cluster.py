"""An agent that trains each run as a Job: template of deploy/kubernetes/overlays/launcher, real agent, recorder and training, and a
cluster that is none (fake_cluster.py)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from detctl_agent.cluster import handover, runner
from detctl_agent.cluster.jobs_api import JobsApi
from detctl_agent.cluster.runner import ClusterRunner
from detctl_agent.cluster.template import check_template, fill_template, job_name
from detctl_agent.errors import CatalogError
from detctl_agent.runs.outcome import Progress
from detctl_agent.state.run_folder import RunFolder
from detctl_proto.v1 import agents_pb2

sys.path.insert(0, str(Path(__file__).parents[2]))
from fake_cluster import FakeCluster, variables

RUNNING, REFUSED = agents_pb2.RUN_PHASE_RUNNING, agents_pb2.RUN_PHASE_REFUSED
TEMPLATE = Path(__file__).parents[3] / "deploy" / "kubernetes" / "overlays" / "launcher" / "job.yaml"


@pytest.fixture
def cluster(tmp_path: Path, tools: Any) -> Iterator[FakeCluster]:
    found = FakeCluster(tmp_path, variables(tools.REPOSITORY))
    yield found
    found.close()


@pytest.fixture
def launcher(cluster: FakeCluster, tmp_path: Path, agent: Any, tools: Any) -> Any:
    def start(recipe: dict[str, Any] | None = None, more: str = "") -> Any:
        image = '[environments.pod]\nimage = "registry.example/train:1"\nvariables = { SET_HERE = "1" }'
        tools.write_catalog(tmp_path, recipe, f"{more}\n{image}")
        return agent("--jobs", str(TEMPLATE), "--namespace", "detctl", variables={"KUBECONFIG": str(cluster.config)})

    return start


def logs(folder: Path) -> str:
    return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in folder.glob("*.log"))


async def test_a_run_is_a_job_and_everything_arrives(
    tmp_path: Path, served: Any, cluster: FakeCluster, launcher: Any
) -> None:
    launcher()
    coordinator = served.coordinator
    coordinator.assign(environment="pod", step_to=4)
    end = await coordinator.ended()
    assert (end.end, end.exit_code, end.ranks) == ("window", -15, 1), logs(tmp_path)
    assert coordinator.state(RUNNING).manifest_json
    seal = coordinator.seals["r1", 1, 0]
    assert seal.complete and seal.steps_finished == 4
    assert sorted(key[3] for key in coordinator.segments) == list(range(seal.segments))
    manifest = json.loads(end.manifest_json)
    assert manifest["machine"]["name"] == "gpu1"
    assert manifest["environment"]["image"] == "registry.example/train:1"
    assert manifest["recipe"]["source_digest"] == coordinator.hellos[0].recipes[0].source_digest
    assert {"IN_THE_IMAGE", "SET_HERE"} <= manifest["variables"].keys()
    assert "secret-of-the-pod" not in end.manifest_json
    (job,) = cluster.jobs
    containers = {one["name"]: one for one in job["spec"]["template"]["spec"]["containers"]}
    assert containers["training"]["image"] == "registry.example/train:1"
    folder = str(tmp_path / "state" / "runs" / "r1.1")
    assert folder in containers["recorder"]["command"]
    assert {"name": "state", "mountPath": folder, "subPath": "runs/r1.1"} in containers["training"]["volumeMounts"]
    assert not cluster.pods, "the Job is deleted when its run is over"
    assert all("/jobs" in path for _, path in cluster.asked), "nothing but Jobs is asked for"


async def test_a_crash_has_its_exit_code(served: Any, tmp_path: Path, launcher: Any) -> None:
    launcher()
    served.coordinator.assign(environment="pod", parameters={"steps": "2", "then": "crash"}, step_to=0)
    end = await served.coordinator.ended()
    assert (end.end, end.exit_code) == ("exit", 7), logs(tmp_path)


async def test_a_cancelled_run_is_ended_in_its_pod(
    served: Any, tmp_path: Path, cluster: FakeCluster, launcher: Any, tools: Any
) -> None:
    launcher()
    coordinator = served.coordinator
    coordinator.assign(environment="pod", step_to=0)
    await coordinator.until(lambda: coordinator.records() > 50)  # while it runs: its spool is sent
    coordinator.stop(run_id="r1", attempt=1, now=True, reason="asked")
    end = await coordinator.ended()
    assert end.end == "cancelled", logs(tmp_path)
    assert tools.pids_of_run("r1.1") == [] and not cluster.pods


async def test_a_training_container_that_is_killed_is_a_lost_run(
    served: Any, tmp_path: Path, cluster: FakeCluster, launcher: Any
) -> None:
    launcher()
    coordinator = served.coordinator
    coordinator.assign(environment="pod", step_to=0)
    await coordinator.until(lambda: coordinator.records() > 50)
    (pod,) = cluster.pods.values()
    pod.kill("training")
    end = await coordinator.ended()
    assert end.end == "lost", logs(tmp_path)


FAILED = {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}]}


@pytest.mark.parametrize(
    ("spoken", "status", "said"),
    [
        (True, FAILED, "DeadlineExceeded: too long"),
        (True, {"conditions": [{"type": "Complete", "status": "True"}]}, "ended without reporting an outcome"),
        (True, None, "somebody deleted the Job"),
        (False, FAILED, "DeadlineExceeded: too long"),
        (False, {}, "did not start within 1 s"),
    ],
)
def test_a_pod_of_which_nothing_is_heard_is_lost_with_what_the_cluster_says(
    tmp_path: Path,
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    spoken: bool,
    status: dict[str, Any] | None,
    said: str,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.config))
    monkeypatch.setattr(runner, "ASK_S", 0.1)
    monkeypatch.setattr(runner, "LATE_S", 0.5)
    cluster.environment["HOLD"] = "1"  # no pod starts: the test plays its part
    folder = RunFolder(tmp_path / "run")
    folder.create()
    started: list[str] = []

    class Ready(JobsApi):
        def create(self, job: dict[str, Any]) -> None:
            super().create(job)
            if spoken:
                handover.write_progress(folder, Progress(step=3, spooled_bytes=8))
            if status is None:
                cluster.pods.clear()
            else:
                cluster.pods[job["metadata"]["name"]].status = status

    job = fill_template(yaml.safe_load(TEMPLATE.read_text()), "a.1", folder.root, "i:1", 60)
    one = ClusterRunner(
        Ready("detctl"), folder, "a.1", job=job, start_s=1, grace_s=1,
        on_started=lambda: started.append("started"), on_spooled=lambda: None,
    )  # fmt: skip
    outcome = one.run()
    assert outcome.end == "lost" and said in outcome.message
    assert started == ["started"] * spoken and not cluster.pods


async def test_a_cluster_that_says_no_is_one_line(
    served: Any, cluster: FakeCluster, launcher: Any, tmp_path: Path
) -> None:
    launcher()
    cluster.refuse = 403
    served.coordinator.assign(environment="pod")
    end = await served.coordinator.ended()
    assert end.end == "lost" and "the Job was not made: 403" in end.message and "\n" not in end.message


async def test_a_recipe_in_place_is_refused(served: Any, launcher: Any) -> None:
    launcher({"in_place": True})
    served.coordinator.assign(environment="pod")
    state = await served.coordinator.until(lambda: served.coordinator.state(REFUSED))
    assert "in_place" in state.message


async def test_what_a_killed_agent_left_in_the_cluster_is_deleted(
    served: Any, tmp_path: Path, cluster: FakeCluster, launcher: Any, tools: Any
) -> None:
    process = launcher()
    coordinator = served.coordinator
    coordinator.assign(environment="pod", step_to=0)
    await coordinator.until(lambda: coordinator.records() > 50)
    process.kill()
    assert cluster.pods
    launcher()
    end = await coordinator.ended()
    assert end.end == "lost" and not cluster.pods
    assert ("DELETE", f"/apis/batch/v1/namespaces/detctl/jobs/{job_name('r1.1')}") in [
        (method, path.partition("?")[0]) for method, path in cluster.asked
    ]


async def test_a_stopped_agent_ends_its_jobs(
    served: Any, tmp_path: Path, cluster: FakeCluster, launcher: Any, tools: Any
) -> None:
    process = launcher()
    served.coordinator.assign(environment="pod", step_to=0)
    await served.coordinator.until(lambda: served.coordinator.records() > 50)
    process.process.terminate()
    assert await process.ended() == 0, process.log
    assert not cluster.pods and tools.pids_of_run("r1.1") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda job: job.update(kind="Pod"), "not a Job of batch/v1"),
        (lambda job: job["spec"]["template"]["spec"]["containers"].pop(), "no container 'training'"),
        (lambda job: job["spec"]["template"]["spec"].update(restartPolicy="Always"), "restartPolicy must be Never"),
        (lambda job: job["spec"].pop("template"), "containers is missing"),
        (
            lambda job: [c.update(image="x") for c in job["spec"]["template"]["spec"]["containers"]],
            "IMAGE is missing",
        ),
    ],
)
def test_a_template_that_cannot_be_one_is_told(change: Any, said: str) -> None:
    job = yaml.safe_load(TEMPLATE.read_text())
    check_template(job, "job.yaml")
    change(job)
    with pytest.raises(CatalogError, match=r"job\.yaml") as caught:
        check_template(job, "job.yaml")
    assert said in str(caught.value)


def test_names_of_jobs_are_names_that_kubernetes_takes() -> None:
    for key in ("a1b2.000.1", "a_b.12.3", "x" * 80 + ".1"):
        assert len(job_name(key)) <= 63 and job_name(key).replace("-", "").isalnum()
    job = fill_template(yaml.safe_load(TEMPLATE.read_text()), "a.000.1", Path("/s/runs/a.000.1"), "i:1", 60)
    assert job["metadata"]["name"] == "detctl-a-000-1" and job["spec"]["activeDeadlineSeconds"] == 960
