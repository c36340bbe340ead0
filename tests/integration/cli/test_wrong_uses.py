"""Wrong uses of `detctl audit -- COMMAND`: the exit code, one clear line, and nothing that is left running or lying about."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from detctl_cli.reporters.verdict_text import write_verdict
from rich.console import Console

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")

SCRIPTS = {
    "no_module.py": "import nowhere_to_be_found\n",
    "no_file.py": "open('data/missing.csv')\n",
    "exits.py": "import sys\nprint('no GPU is free', file=sys.stderr)\nsys.exit(1)\n",
    "hangs.py": "import time\nprint('waiting for the queue', flush=True)\ntime.sleep(1000)\n",
    "ends.py": "print('nothing to do: 0 samples')\n",
    "crashes.py": "import os\nos.abort()\n",
    "killed.py": "import os\nos.kill(os.getpid(), 9)\n",
}


@pytest.fixture
def project(deployment):
    for name, text in SCRIPTS.items():
        (deployment.folder / name).write_text(text)
    (deployment.folder / "package").mkdir()
    for name in ("__init__", "train"):
        (deployment.folder / "package" / f"{name}.py").touch()
    return deployment


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work in the folder or name it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(folder) in line or Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(line)
        except OSError:
            continue
    return found


def as_text(verdict: dict[str, object]) -> str:
    stream = io.StringIO()
    write_verdict(verdict, Console(file=stream, width=400))
    return stream.getvalue()


def check_nothing_is_left(project) -> None:
    if (project.folder / ".detctl" / "lock").exists():
        project.wait_until_nobody_is_left()
    end = time.monotonic() + 20
    while (left := processes_of(project.folder)) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == []
    state = project.folder / ".detctl"
    assert not (state / "catalog.toml").exists()
    assert list(state.glob("agent/overlays/*")) == [] and list(state.glob("agent/runs/*/work")) == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(state) not in mounts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("audit", "--", "python", "trian.py"), "trian.py: no such file; did you mean train.py?"),
        (("record", "-o", "out", "--", "python", "-u", "trian.py"), "trian.py: no such file; did you mean train.py?"),
        (("audit", "--", "pyhton3", "train.py"), "pyhton3: no such program"),
        (("audit", "--", "train.py"), "did you mean python train.py?"),
        (("audit", "--", "python", "package"), "package is a directory without __main__.py"),
        (("audit", "--", "python", "-m", "package.trian"), "did you mean package.train?"),
        (("audit", "--", "torchrun", "--nproc-per-node", "2", "trian.py"), "trian.py: no such file"),
        (("audit", "--twinz", "2", "--", "python", "train.py"), "--twinz"),
    ],
)
def test_a_misspelt_command_or_option_starts_nothing(project, arguments, expected):
    started = time.monotonic()
    ran = project.run(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1 and expected in ran.stderr, ran.stderr
    assert not (project.folder / ".detctl").exists() and not (project.folder / "out").exists()
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("command", "facts", "expected"),
    [
        (("python", "no_module.py"), {"kind": "missing-module", "module": "nowhere_to_be_found", "exit_code": 1},
         "Python does not find the module nowhere_to_be_found (exit code 1)"),
        (("python", "exits.py"), {"kind": "exit", "exit_code": 1}, "no GPU is free"),
        (("python", "no_file.py"), {"kind": "missing-file", "file": "data/missing.csv"},
         "the file data/missing.csv does not exist (exit code 1)"),
        (("python", "hangs.py"), {"kind": "timeout"}, "waiting for the queue"),
        (("python", "ends.py"), {"kind": "no-training", "exit_code": 0}, "nothing to do: 0 samples"),
        (("python", "crashes.py"), {"kind": "crash", "signal": "SIGABRT"}, "signal SIGABRT"),
        (("python", "killed.py"), {"kind": "out-of-memory", "signal": "SIGKILL"}, "most likely because memory ran out"),
        (("{no-torch}", "train.py"), {"kind": "no-torch", "module": "torch"}, "The interpreter was"),
    ],
)  # fmt: skip
def test_the_first_failure_stops_the_audit_and_says_why(project, tmp_path, command, facts, expected):
    if command[0] == "{no-torch}":  # a Python without the folder of the packages
        bare = tmp_path / "bin" / "python"
        bare.parent.mkdir()
        bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        bare.chmod(0o755)
        project.environ["PATH"] = f"{bare.parent}:{project.environ['PATH']}"
        command = ("python", *command[1:])
    ran = project.run("audit", "--timeout", "4", "--json", "--", *command)
    assert ran.returncode == 3, ran.stderr
    verdict = json.loads(ran.stdout)
    assert verdict["outcome"] == "unverified"
    assert len(verdict["failures"]) == 1 and verdict["stopped_by"] == verdict["failures"][0]["run"]
    assert {name: verdict["failures"][0][name] for name in facts} == facts
    shown = as_text(verdict)
    assert expected in shown
    assert shown.count("advice") == 1 and shown.count("its last output") <= 1
    check_nothing_is_left(project)


def test_keep_going_starts_all_runs(project):
    ran = project.run("audit", "--twins", "2", "--keep-going", "--json", "--", "python", "exits.py")
    assert ran.returncode == 3, ran.stderr
    verdict = json.loads(ran.stdout)
    assert len(verdict["failures"]) == 2 and verdict["stopped_by"] == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_script_that_may_not_be_read_starts_nothing(project):
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if subprocess.run([*become, sys.executable, "-c", ""], capture_output=True).returncode != 0:
        pytest.skip("another user may not run this interpreter")
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="detctl-test-"))  # pytest closes its own folders to others
    try:
        folder.chmod(0o755)
        shutil.copy(project.folder / "train.py", folder)
        (folder / "train.py").chmod(0o600)
        ran = subprocess.run(
            [*become, sys.executable, "-m", "detctl_cli", "audit", "--", "python", "train.py"],
            cwd=folder, env={**project.environ, "HOME": str(folder)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    assert ran.returncode == 2
    assert ran.stderr == "detctl: train.py may not be read; change its permissions: chmod u+r train.py\n"


@as_root
def test_a_full_disk_is_named(project):
    state = project.folder / ".detctl"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state)], check=True)
    try:
        ran = project.run("audit", "--twins", "2", "--", "python", "train.py")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert len(ran.stderr.splitlines()) == 1 and f"no space left in {state}" in ran.stderr, ran.stderr
        assert processes_of(project.folder) == []
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


@as_root
def test_a_disk_that_fills_during_the_audit_ends_it(project, fifo):
    """Neither the store nor the agent can write then, so the command itself must notice."""
    path, reader = fifo
    state = project.folder / ".detctl"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(state)], check=True)
    try:
        command = ("--", "python", "train.py", "--seed", "--endless", "--fifo", str(path))
        process = project.start("audit", "--twins", "2", "--to-end", *command)
        assert select.select([reader], [], [], 120)[0]
        filler = os.open(state / "filler", os.O_WRONLY | os.O_CREAT)
        try:
            while process.poll() is None:
                try:
                    os.write(filler, b"\0" * 4096)
                except OSError:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.1)
        finally:
            os.close(filler)
        out, err = process.communicate(timeout=60)
        assert process.returncode in (2, 3), err
        assert "disk" in err + out and "full" in err + out and "Traceback" not in err, err
        assert processes_of(project.folder) == []
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


@pytest.mark.parametrize("moment", ["starting", "training", "comparing"])
def test_ctrl_c_ends_everything(project, fifo, moment):
    path, reader = fifo
    endless = moment == "training"
    steps, more = (["--to-end"], ["--endless", "--fifo", str(path)]) if endless else (["--steps", "0:4"], [])
    process = project.start("audit", "--twins", "2", *steps, "--", "python", "train.py", "--seed", *more)
    if moment == "starting":
        end = time.monotonic() + 60
        while not (project.folder / ".detctl" / "lock").exists() and time.monotonic() < end:
            time.sleep(0.02)
    elif moment == "training":
        assert select.select([reader], [], [], 120)[0]
        os.read(reader, 3)
    else:
        for line in process.stderr:
            if "comparing" in line:
                break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    # The comparison of a short training may be over before the signal arrives.
    assert process.returncode == 130 or (moment == "comparing" and process.returncode == 0), err
    if process.returncode == 130:
        assert out == "" and err.splitlines()[-1] == "detctl: interrupted"
        assert "Traceback" not in err
    check_nothing_is_left(project)
