"""The first command in folders as users have them: twins run in place behind a private overlay, and leave the folder as it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NOBODY = 65534

TRAIN = """
import os, sys
from pathlib import Path
import torch

torch.manual_seed(sum(map(ord, os.path.abspath(__file__) + os.getcwd())))  # another folder gives other weights
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("data")
rows = torch.stack([torch.tensor(list(path.read_bytes()[:4]), dtype=torch.float) for path in sorted(folder.iterdir())])
model = torch.nn.Linear(4, 2)
Path("out").mkdir(exist_ok=True)
with open("log.txt", "a") as log:
    for step in range(4):
        loss = model(rows).square().mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 1e-6 * parameter.grad
        torch.save(model.state_dict(), "out/last.pt")
        print(loss.item(), file=log)
"""


@pytest.fixture
def project(deployment):
    """A git repository whose data is ignored."""
    (deployment.folder / "train.py").write_text(TRAIN)
    (deployment.folder / ".gitignore").write_text("data/\nout/\n")
    (deployment.folder / "data").mkdir()
    for name in "abc":
        (deployment.folder / "data" / name).write_text(name * 8)
    subprocess.run(["git", "init", "-q", "."], cwd=deployment.folder, check=True)
    return deployment


def moved(project, folder: Path):
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(project.folder, folder)
    return replace(project, folder=folder)


def content(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.is_file() and hashlib.sha256(path.read_bytes()).digest(),
        )
        for path in folder.rglob("*")
        if ".detctl" not in path.parts and ".git" not in path.parts
    }


WITHOUT_NAMESPACES = (
    "unshare", "-Ur", "sh", "-c",
    'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$@"', "sh",
)  # fmt: skip


def audit(
    project, *command: str, become: tuple[str, ...] = (), options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    words = [
        *become,
        sys.executable,
        "-m",
        "detctl_cli",
        "audit",
        "--twins",
        "2",
        "--steps",
        "0:3",
        *options,
        "--",
        "python",
        *command,
    ]
    return subprocess.run(words, cwd=project.folder, env=project.environ, capture_output=True, text=True, timeout=240)


def test_ignored_data_is_there_and_the_folder_stays_as_it_was(project):
    large = project.folder / "weights.bin"  # tracked, and larger than any limit of a copy
    with open(large, "wb") as stream:
        stream.truncate(600 * 1024 * 1024)
    subprocess.run(["git", "add", "."], cwd=project.folder, check=True)
    large.chmod(0o400)
    before = {name: found for name, found in content(project.folder).items() if name != "weights.bin"}
    ran = audit(project, "train.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {name: found for name, found in content(project.folder).items() if name != "weights.bin"} == before


@pytest.mark.parametrize("place", ["a folder, with ümlauts", "shm"])
def test_any_place(project, tmp_path, place):
    memory = Path("/dev/shm") / f"detctl-test-{os.getpid()}"
    there = moved(project, memory / "project" if place == "shm" else tmp_path / place)
    before = content(there.folder)
    try:
        ran = audit(there, "train.py")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert content(there.folder) == before
    finally:
        shutil.rmtree(memory, ignore_errors=True)


def test_data_outside_of_the_folder(project, tmp_path):
    shutil.move(project.folder / "data", tmp_path / "elsewhere")
    ran = audit(project, "train.py", "../elsewhere")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount")
def test_a_read_only_folder(project, tmp_path):
    project.environ["DETCTL_SCRATCH"] = str(tmp_path / "scratch")
    subprocess.run(["mount", "--bind", project.folder, project.folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", project.folder], check=True)
        ran = audit(project, "train.py")
    finally:
        subprocess.run(["umount", project.folder], check=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_as_an_ordinary_user(project, tmp_path):
    become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    if subprocess.run([*become, sys.executable, "-c", "import torch"], capture_output=True).returncode != 0:
        pytest.skip("another user may not run this interpreter")
    base = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="detctl-test-"))  # pytest closes its own folders to others
    try:
        base.chmod(0o755)
        there = moved(project, base / "project")
        there.environ["HOME"] = str(shutil.move(tmp_path / "home", base / "home"))
        for path in [base / "home", there.folder, *there.folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        before = content(there.folder)
        ran = audit(there, "train.py", become=become)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert content(there.folder) == before
    finally:
        shutil.rmtree(base, ignore_errors=True)


def test_without_namespaces(project):
    """As in a container with Docker's own seccomp profile: neither mounts nor user namespaces."""
    become = WITHOUT_NAMESPACES
    if subprocess.run([*become, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody make a user namespace")
    before = content(project.folder)
    ran = audit(project, "train.py", become=become)
    assert ran.returncode == 0, (
        "the script depends on its folder, and the copies of all twins have the same path\n" + ran.stderr
    )
    assert content(project.folder) == before
    assert not list((project.folder / ".detctl" / "agent" / "copies").iterdir())


@pytest.mark.parametrize("namespaces", [True, False])
def test_what_runs_write_is_kept_on_request(project, namespaces):
    become = () if namespaces else WITHOUT_NAMESPACES
    if become and subprocess.run([*become, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody make a user namespace")
    before = content(project.folder)
    ran = audit(project, "train.py", become=become, options=("--keep-files",))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert content(project.folder) == before
    kept = sorted((project.folder / ".detctl" / "agent" / "runs").glob("*/written"))
    assert len(kept) == 2 and "/written" in ran.stderr
    assert all(any(path.is_file() for path in place.rglob("*")) for place in kept)


def test_a_folder_above_in_the_repository_is_private_too(project):
    scripts = project.folder / "scripts"
    scripts.mkdir()
    shutil.move(project.folder / "train.py", scripts)
    code = (scripts / "train.py").read_text().replace('"out', '"../out').replace('"data"', '"../data"')
    (scripts / "train.py").write_text(code + 'assert not Path("../seen").exists()\nPath("../seen").touch()\n')
    before = content(project.folder)
    ran = audit(replace(project, folder=scripts), "train.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert content(project.folder) == before


def test_twins_that_find_each_others_checkpoint_are_told_why(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (project.folder / "out").symlink_to(tmp_path / "elsewhere")
    resuming = 'Path("out").mkdir(exist_ok=True)\nif Path("out/last.pt").exists(): model.load_state_dict(torch.load("out/last.pt"))'
    (project.folder / "train.py").write_text(TRAIN.replace('Path("out").mkdir(exist_ok=True)', resuming))
    ran = audit(project, "train.py")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "outside of its private view" in ran.stdout
