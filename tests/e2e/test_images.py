"""Images: each target is built from a clean clone and runs as 65532 with a read-only root. Needs a Docker engine that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
BASE = "python:3.11-slim"
LOCKED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--network=none")
TARGETS = ("coordinator", "agent", "cli", "probe")
COORDINATOR_MIB_MAX = 250


docker = Engine()
WHY_NOT = docker.why_not(BASE)
pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Target -> image, of a clone of what is committed."""
    clone = tmp_path_factory.mktemp("clone") / "detctl"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    made = {}
    for target in TARGETS:
        # Another worker of the suite may build, and remove, its own.
        made[target] = f"detctl-test/{target}:{os.getpid()}"
        words = ("build", "--network", "host", "--target", target, "-t", made[target], str(clone))
        done = docker(*words, timeout=900)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield made
    docker("image", "rm", *made.values())


def wait_until_well(name: str, *ask: str) -> None:
    """Until the container answers well to its own health command; shows its log where it does not within a minute."""
    end = time.monotonic() + 60
    while (asked := docker("exec", name, *ask)).returncode:
        assert time.monotonic() < end, asked.stderr + docker("logs", name).stderr
        time.sleep(0.5)  # a container tells nobody when it is well


def size_mib(image: str) -> float:
    return int(docker.out("image", "inspect", "-f", "{{.Size}}", image)) / 2**20


def test_each_runs_locked_down_and_as_nobody(images: dict[str, str]) -> None:
    for target, command in (("coordinator", "detctl-coordinator"), ("agent", "detctl-agent"), ("cli", "detctl")):
        done = docker("run", "--rm", *LOCKED, images[target], "--help")
        assert done.returncode == 0 and command in done.stdout.lower(), done.stderr
        (config,) = json.loads(docker("image", "inspect", images[target]).stdout)
        assert config["Config"]["User"] == "65532:65532"
        assert config["Config"]["Labels"]["org.opencontainers.image.title"].startswith("detctl")
        who = docker(
            "run", "--rm", *LOCKED, "--entrypoint", "python", images[target], "-c", "import os; print(os.getuid())"
        )
        assert who.stdout.strip() == "65532"
    for target in ("coordinator", "agent", "cli"):
        missing = "import importlib.util as u; print([m for m in ('torch', 'pip') if u.find_spec(m)])"
        assert docker("run", "--rm", "--entrypoint", "python", images[target], "-c", missing).stdout.strip() == "[]"
    added = {target: size_mib(image) - size_mib(BASE) for target, image in images.items()}
    for target, size in added.items():
        print(f"{target}: {size:.0f} MiB on top of {BASE}")
    assert added["coordinator"] < COORDINATOR_MIB_MAX


def test_a_coordinator_serves_with_a_read_only_root_and_says_that_it_is_well(images: dict[str, str]) -> None:
    name = "detctl-test-coordinator"
    docker("rm", "-f", name)
    started = docker("run", "-d", "--name", name, *LOCKED, images["coordinator"])
    assert started.returncode == 0, started.stderr
    try:
        wait_until_well(name, "detctl-coordinator", "health")
        token = docker("exec", name, "stat", "-c", "%a", "/var/lib/detctl/.local/state/detctl/token")
        assert token.stdout.strip() == "600"
        stopped = time.monotonic()
        assert docker("stop", "-t", "20", name).returncode == 0
        assert time.monotonic() - stopped < 15, "SIGTERM ends it, not SIGKILL"
        assert docker("inspect", "-f", "{{.State.ExitCode}}", name).stdout.strip() == "0"
    finally:
        docker("rm", "-f", name)


def test_the_containers_of_the_kubernetes_manifests_run_as_they_are_written(
    images: dict[str, str], tmp_path: Path
) -> None:
    """Redis and a coordinator with the manifests' own commands, users, read-only roots and modes of secrets; a pod without Kubernetes."""
    if docker("image", "inspect", "redis:7").returncode:
        pytest.skip("needs the image redis:7")
    place = ROOT / "deploy" / "kubernetes"
    redis = container_of(place / "overlays" / "redis-in-cluster" / "redis.yaml", "StatefulSet")
    coordinator = container_of(place / "base" / "coordinator.yaml", "Deployment")
    subprocess.run(
        [sys.executable, "-m", "detctl_cli.main", "ca", "init", "--server", "coordinator", "--pki", str(tmp_path)],
        check=True,
    )
    secret = tmp_path / "server"
    tmp_path.chmod(0o755)
    secret.chmod(0o755)
    for path in secret.iterdir():
        os.chown(path, 0, 65532)
        path.chmod(0o440)  # as a Secret is mounted with fsGroup 65532 and defaultMode 0440
    names = ("detctl-test-redis", "detctl-test-pod")
    docker("rm", "-f", *names)
    docker("network", "rm", "detctl-test")
    locked = (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=65532:65532",
        "--network=detctl-test",
    )
    assert docker("network", "create", "--internal", "detctl-test").returncode == 0
    try:
        started = docker(
            "run", "-d", "--name", names[0], "--network-alias=redis", *locked, "--tmpfs=/run/redis:uid=65532,size=1m",
            "--tmpfs=/data:uid=65532", "-e", "PASSWORD=secret-1234", "--entrypoint", redis["command"][0], "redis:7",
            *redis["command"][1:], *redis["args"],
        )  # fmt: skip
        assert started.returncode == 0, started.stderr
        url = "redis://:secret-1234@redis:6379/0"
        started = docker(
            "run", "-d", "--name", names[1], *locked, "--tmpfs=/run/detctl:uid=65532", "--tmpfs=/var/lib/detctl:uid=65532",
            "--tmpfs=/tmp", "-v", f"{secret}:/etc/detctl/tls:ro", "-e", f"DETCTL_COORDINATOR_STORE={url}", "--restart=on-failure",
            images["coordinator"], *coordinator["args"],
        )  # fmt: skip
        assert started.returncode == 0, started.stderr
        wait_until_well(names[1], *coordinator["readinessProbe"]["exec"]["command"])
        listed = docker("top", names[0]).stdout
        assert "redis-server" in listed and "secret-1234" not in listed
    finally:
        docker("rm", "-f", *names)
        docker("network", "rm", "detctl-test")


def container_of(path: Path, kind: str) -> dict[str, Any]:
    document = next(one for one in yaml.safe_load_all(path.read_text()) if one["kind"] == kind)
    container: dict[str, Any] = document["spec"]["template"]["spec"]["containers"][0]
    return container


def test_the_probe_is_a_folder_that_an_init_container_copies(images: dict[str, str], tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = docker("run", "--rm", *LOCKED, "-v", f"{tmp_path}:/target", images["probe"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "detctl_probe" / "inject" / "sitecustomize.py").exists()
    assert zipfile.is_zipfile(tmp_path / "attach.pyz")
    assert list((tmp_path / "detctl_probe" / "digest" / "kernel").glob("n6-*.so")), (
        "the C kernel is compiled in the build"
    )
    docker(
        "run",
        "--rm",
        "-v",
        f"{tmp_path}:/target",
        "--user",
        "0",
        "--entrypoint",
        "rm",
        images["probe"],
        "-r",
        "/target/detctl_probe",
        "/target/attach.pyz",
    )
