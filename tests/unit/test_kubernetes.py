"""deploy/kubernetes: overlays render, pass a strict validation, and every pod keeps Pod Security `restricted`; docs name what exists."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted(path.name for path in (PLACE / "overlays").iterdir())
LAUNCHER = PLACE / "overlays" / "launcher"  # applied beside one of the others
JOBS = [*sorted(PLACE.glob("*-job/job.yaml")), LAUNCHER / "job.yaml"]
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, to render overlays")


def rendered(overlay: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(PLACE / "overlays" / overlay)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def documents() -> Iterator[dict[str, Any]]:
    """All that is written down, unrendered: what the tests below need no kubectl for."""
    for path in sorted(PLACE.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


def pods(found: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in found:
        template = (
            document.get("spec", {}).get("template")
            if document["kind"] in ("Deployment", "StatefulSet", "Job")
            else None
        )
        if template is not None:
            yield f"{document['kind']}/{document['metadata']['name']}", template


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_renders_and_is_valid(overlay: str, caplog: pytest.LogCaptureFixture) -> None:
    import kubernetes_validate

    found = rendered(overlay)
    caplog.set_level(logging.ERROR)
    for document in found:
        kubernetes_validate.validate(document, "1.32", strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "detctl", document["metadata"]
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))
    deployments = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "Deployment"}
    if overlay == LAUNCHER.name:
        assert deployments["launcher"]["replicas"] == 1 and "Namespace" not in {kind for kind, _ in names}
        mounted = next(v for v in deployments["launcher"]["template"]["spec"]["volumes"] if v["name"] == "catalog")
        assert ("ConfigMap", mounted["configMap"]["name"]) in names
        return
    assert deployments["coordinator"]["replicas"] == 2
    labels = next(one for one in found if one["kind"] == "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.parent.name)
def test_a_job_is_valid(job: Path) -> None:
    import kubernetes_validate

    text = job.read_text().replace("RUN_KEY", "run-1").replace("RUN_FOLDER", "/runs/run-1").replace("IMAGE", "image:1")
    kubernetes_validate.validate(yaml.safe_load(text), "1.32", strict=True)


@pytest.mark.parametrize(("name", "template"), list(pods(documents())), ids=[name for name, _ in pods(documents())])
def test_every_pod_is_restricted(name: str, template: dict[str, Any]) -> None:
    spec = template["spec"]
    assert spec["automountServiceAccountToken"] is (name == "Deployment/launcher"), "the launcher's alone"
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True and security["runAsUser"] == 65532
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        assert key not in spec
    assert not any("hostPath" in volume for volume in spec.get("volumes", ()))
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"]
        assert not container["image"].endswith(":latest") and (
            ":" in container["image"] or container["image"] == "IMAGE"
        )
        asks_for_gpu = any(key.startswith("nvidia.com/") for key in container["resources"]["limits"])
        assert asks_for_gpu == (container["name"] == "training"), "GPUs are asked for by trainings alone"
        for secret in (one for one in container.get("env", ()) if re.search("PASSWORD|TOKEN|STORE", one["name"])):
            assert "secretKeyRef" in secret.get("valueFrom", {}), "no secret is written into a manifest"


def test_the_launcher_may_do_with_jobs_what_it_does_and_no_more() -> None:
    roles = [one for one in documents() if one["kind"] in ("Role", "ClusterRole")]
    assert [role["metadata"]["name"] for role in roles] == ["launcher"] and roles[0]["kind"] == "Role"
    assert roles[0]["rules"] == [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "delete"]}]
    (binding,) = (one for one in documents() if one["kind"] == "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == ["launcher"]


def test_the_launchers_files_are_files_that_the_agent_takes(tmp_path: Path) -> None:
    from detctl_agent.catalog.catalog import load
    from detctl_agent.cluster.launching import read_template

    path = tmp_path / "catalog.toml"
    path.write_text((LAUNCHER / "catalog.toml").read_text())
    found = load(path)
    assert all(one.image for name, one in found.environments.items() if name != "default")
    read_template(LAUNCHER / "job.yaml")


def test_nothing_talks_but_along_the_one_way() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in documents() if one["kind"] == "NetworkPolicy"}
    deny = policies["default-deny"]
    assert deny["podSelector"] == {} and sorted(deny["policyTypes"]) == ["Egress", "Ingress"]
    assert "ingress" not in deny and "egress" not in deny
    ways = {
        (name, port["port"])
        for name, spec in policies.items()
        for rule in [*spec.get("ingress", ()), *spec.get("egress", ())]
        for port in rule["ports"]
    }
    assert ways == {
        ("dns", 53), ("callers-to-coordinator", 7450), ("callers-egress", 7450), ("coordinator-to-redis", 6379),
        ("coordinator-egress", 6379), ("launcher-to-api", 443), ("launcher-to-api", 6443),
    }  # fmt: skip


def test_flags_in_manifests_are_flags_of_the_programs() -> None:
    import click
    from detctl_agent.commands.health import health
    from detctl_agent.commands.serve import serve
    from detctl_coordinator.main import coordinator

    deployments = {one["metadata"]["name"]: one for one in documents() if one["kind"] == "Deployment"}
    container = deployments["coordinator"]["spec"]["template"]["spec"]["containers"][0]
    coordinator.make_context("detctl-coordinator", list(container["args"]))
    agent = deployments["launcher"]["spec"]["template"]["spec"]["containers"][0]
    words, left, _ = serve.make_parser(click.Context(serve)).parse_args(list(agent["args"]))
    assert {"name", "coordinator", "tls", "catalog", "jobs", "state", "parallel"} == set(words) and left == []
    for probe in ("startupProbe", "livenessProbe"):
        command = agent[probe]["exec"]["command"]
        assert command[:2] == ["detctl-agent", "health"]
        health.make_parser(click.Context(health)).parse_args(command[2:])
    for probe in ("startupProbe", "readinessProbe"):
        command = container[probe]["exec"]["command"]
        assert command[0] == "detctl-coordinator"
        assert coordinator.make_context("detctl-coordinator", command[1:]).params["command"] == "health"


def test_documented_commands_name_what_is_there() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    named = set(re.findall(r"deploy/[\w./-]+", text))
    assert named and not [path for path in named if not (ROOT / path.rstrip(".")).exists()]
    assert {f"deploy/kubernetes/overlays/{name}" for name in OVERLAYS} <= named
    secrets = set(re.findall(r"kubectl -n detctl create secret generic ([\w-]+)", text))
    used = {
        volume["secret"]["secretName"]
        for _, template in pods(documents())
        for volume in template["spec"].get("volumes", ())
        if "secret" in volume
    }
    assert used | {"detctl-store"} == secrets, "each secret that a pod mounts is made by a documented command"
