"""A recorder beside a training of another container: `detctl record --join … --attach DIR` and `python3 DIR/attach.pyz COMMAND`."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from deployment import Deployment, free_port, wait_for
from detctl_agent.sidecar.archive import write_archive
from test_images import BASE, ROOT, WHY_NOT, docker, images  # noqa: F401 - a fixture
from test_join import TRAIN, start

pytestmark = pytest.mark.slow

NEWER = "python:3.13-slim"
# A training without torch, which starts at once and runs in images that have none: what the probe would see is said by hand.
SPEAKS = """
import os, sys, time
from hashlib import blake2b
from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.recording.recorder import recorder
for step in range(3):
    for stage in ("init", "batch", "forward", "loss", "backward", "update")[step > 0 :]:
        digest = blake2b(f"{stage} {step}".encode(), digest_size=16).digest()
        recorder().record(stage, "layer", Fingerprint(digest, "float32", (2, 3)))
    recorder().end_step()
    if "--crash" in sys.argv and step == 1:
        raise RuntimeError("as asked")
    if "--endless" in sys.argv and step == 1:
        open("up", "w").close()
        time.sleep(600)  # until somebody ends it
print("trained", sys.version)
"""


def training(shared: Path, *command: str, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """A process that a test calls the other container: it knows nothing of detctl but DIR/attach.pyz."""
    env = {"PATH": os.environ["PATH"], "MY_TOKEN": "secret-of-the-training", **variables}
    words = [sys.executable, str(shared / "attach.pyz"), *command]
    return subprocess.Popen(words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    write_archive(folder / "attach.pyz")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "speaks.py").write_text(SPEAKS)
    return folder


def recorder(deployment: Deployment, audit: str, machine: str, shared: Path) -> subprocess.Popen[bytes]:
    words = ("record", "--join", audit, "--machine", machine, "--attach", str(shared))
    return deployment.start(f"recorder-{machine}", "detctl_cli.main", *words)


def test_what_is_trained_elsewhere_is_a_run_of_the_audit(deployment: Deployment, shared: Path, tmp_path: Path) -> None:
    audit = start(deployment, "--twins", "1", "--steps", "0:3", "--set", "env:OMP_NUM_THREADS=1")
    for machine in ("gpu1", "gpu2"):
        trained = training(shared, sys.executable, "train.py", "0", cwd=tmp_path)  # before its recorder
        beside = recorder(deployment, audit, machine, shared)
        _, said = trained.communicate(timeout=120)
        assert trained.returncode == 0, said
        assert beside.wait(60) == 0, (tmp_path / f"recorder-{machine}.log").read_text()
    verdict = deployment.verdict("audit", "--attach", audit, exit_code=0)
    assert verdict["coverage"]["steps"] == [0, 3]
    told = json.loads(deployment.detctl("runs", "--audit", audit, "--json").stdout)["runs"][0]["id"]
    shown = deployment.detctl("show", told, "--json").stdout
    manifest = json.loads(shown)["run"]["manifest"]
    assert manifest["recipe"]["source_digest"] == "", (
        "the other container's files were not seen, but for its main script"
    )
    assert manifest["variables"]["OMP_NUM_THREADS"] == "1"
    assert manifest["python"]["packages"]["torch"]
    assert manifest["machine"]["os"] and manifest["machine"]["libc"]
    assert "secret-of-the-training" not in shown
    assert sorted(path.name for path in shared.iterdir()) == ["attach.pyz"]


def test_a_training_that_fails_says_so_with_its_own_exit_code(
    deployment: Deployment, shared: Path, tmp_path: Path
) -> None:
    audit = start(deployment, "--twins", "1")
    beside = recorder(deployment, audit, "gpu1", shared)
    trained = training(shared, sys.executable, "speaks.py", "--crash", cwd=tmp_path)
    assert trained.communicate(timeout=120)[1].count("as asked")
    assert trained.returncode == 1
    assert beside.wait(60) == 3
    assert "exit code 1" in (tmp_path / "recorder-gpu1.log").read_text()


def test_a_killed_training_container_is_lost_and_a_killed_recorder_ends_its_training(
    deployment: Deployment, shared: Path, tmp_path: Path
) -> None:
    audit = start(deployment, "--twins", "1", "--to-end")
    beside = recorder(deployment, audit, "gpu1", shared)
    trained = training(shared, sys.executable, "speaks.py", "--endless", cwd=tmp_path)
    wait_for("two steps", (tmp_path / "up").exists)
    trained.kill()  # as a node does that has no memory left
    assert beside.wait(60) != 0
    (tmp_path / "up").unlink()

    beside = recorder(deployment, audit, "gpu2", shared)
    trained = training(shared, sys.executable, "speaks.py", "--endless", cwd=tmp_path)
    wait_for("two steps", (tmp_path / "up").exists)
    os.killpg(beside.pid, signal.SIGKILL)
    trained.communicate(timeout=60)
    assert trained.returncode == 0


def test_where_no_training_comes_the_recorder_is_interrupted_and_gives_its_run_back(
    deployment: Deployment, shared: Path, tmp_path: Path
) -> None:
    audit = start(deployment, "--twins", "1")
    beside = recorder(deployment, audit, "gpu1", shared)
    wait_for("it listens", (shared / "attach.sock").exists)
    beside.send_signal(signal.SIGTERM)
    assert beside.wait(30) != 0
    log = (tmp_path / "recorder-gpu1.log").read_text()
    assert "was released" in log and "Traceback" not in log


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--attach", "SHARED", "--", "python", "train.py"), "does not go with a command"),
        (("--attach", "SHARED", "-o", "elsewhere"), "must be in"),
        (("--attach", "nowhere"), "nowhere"),
    ],
)
def test_wrong_words_are_one_line(
    deployment: Deployment, shared: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = deployment.detctl("record", "-o", str(tmp_path / "x"), *(w.replace("SHARED", str(shared)) for w in words))
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_the_archive_holds_the_standard_library_alone_and_old_python(tmp_path: Path) -> None:
    write_archive(tmp_path / "attach.pyz")
    with zipfile.ZipFile(tmp_path / "attach.pyz") as archive:
        files = [name for name in archive.namelist() if name.endswith(".py")]
        trees = {name: ast.parse(archive.read(name), feature_version=(3, 9)) for name in files}
    known = {name.removesuffix(".py").replace("/", ".") for name in files} | {"pynvml"}  # asked for, and done without
    for name, tree in trees.items():
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for one in names:
                assert one in known or one.split(".")[0] in sys.stdlib_module_names, (name, one)


@pytest.fixture
def reachable(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on loopback, with a token that 65532 may read."""
    running = Deployment(tmp_path)
    running.address = running.environment["DETCTL_COORDINATOR"] = f"127.0.0.1:{free_port()}"
    try:
        running.coordinator()
        yield running
    finally:
        running.close()


@pytest.mark.docker
@pytest.mark.timeout(1800)
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_the_sidecar_job_runs_as_it_is_written_in_two_images_without_detctl(
    images: dict[str, str],  # noqa: F811 - the fixture that is imported
    reachable: Deployment,
    tmp_path: Path,
) -> None:
    """The three containers of deploy/kubernetes/sidecar-job with their own commands and user, in Docker."""
    if docker("image", "inspect", NEWER).returncode:
        pytest.skip(f"needs the image {NEWER}")
    spec = yaml.safe_load((ROOT / "deploy/kubernetes/sidecar-job/job.yaml").read_text())["spec"]["template"]["spec"]
    (before,), (beside, trained) = spec["initContainers"], spec["containers"]
    token, app = tmp_path / "token", tmp_path / "app"
    shutil.copy(tmp_path / "state" / "detctl" / "token", token)
    app.mkdir()
    (app / "train.py").write_text(SPEAKS)
    audit = start(reachable, "--twins", "1", "--steps", "0:3")
    user = ("--user=65532:65532", "--cap-drop=ALL", "--read-only", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
    os.chown(token, 65532, 65532)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    for machine, image in (("gpu1", BASE), ("gpu2", NEWER)):
        shared = tmp_path / f"shared-{machine}"
        shared.mkdir()
        os.chown(shared, 65532, 65532)
        mounted = ("-v", f"{shared}:/detctl")
        done = docker(
            "run",
            "--rm",
            *user,
            *mounted,
            "--entrypoint",
            before["command"][0],
            images["probe"],
            *before["command"][1:],
        )
        assert done.returncode == 0, done.stderr
        name = f"detctl-test-recorder-{machine}"
        docker("rm", "-f", name)
        command = [word.replace("AUDIT", audit).replace("gpu1", machine) for word in beside["command"]]
        try:
            begun = docker(
                "run", "-d", "--name", name, *user, *mounted, "--network=host", "-v", f"{token}:/token:ro",
                "-e", f"DETCTL_COORDINATOR={reachable.address}", "-e", "DETCTL_TOKEN_FILE=/token",
                "--entrypoint", command[0], images["agent"], *command[1:],
            )  # fmt: skip
            assert begun.returncode == 0, begun.stderr
            done = docker(
                "run", "--rm", *user, *mounted, "--network=none", "-v", f"{app}:/app:ro", "--tmpfs=/work:uid=65532",
                "--workdir=/work", "--entrypoint", trained["command"][0], image, *trained["command"][1:],
            )  # fmt: skip
            assert done.returncode == 0, done.stderr + docker("logs", name).stderr
            assert docker("wait", name).stdout.strip() == "0", docker("logs", name).stderr
        finally:
            docker("rm", "-f", name)
    verdict = reachable.verdict("audit", "--attach", audit, exit_code=0)
    assert set(verdict["environment"]["machine.os_version"].values()) == {"12", "13"}
