"""A training in a cgroup of its own: it is started in it, and what the kernel counts there is what the run says.

The cgroup's files are plain ones here, so that this runs without any; a kernel that keeps the limits is not asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from detctl_agent.launcher.cgroup import Cgroups
from detctl_agent.launcher.limits import Limits
from detctl_agent.runs.launch_plan import LaunchPlan
from detctl_agent.runs.outcome import Outcome
from detctl_agent.runs.runner import Runner
from detctl_agent.state.run_folder import RunFolder
from detctl_agent.state.sockets import RuntimeFolder

LIMITS = Limits(4096, 16, "recipe digits", "recipe digits")


def plain_cgroups(folder: Path) -> Cgroups:
    base, proc = folder / "base", folder / "self"
    base.mkdir(), proc.mkdir()
    (base / "cgroup.controllers").write_text("memory pids")
    (proc / "cgroup").write_text("0::/base\n")
    (proc / "mountinfo").write_text(f"36 25 0:30 / {folder} rw - cgroup2 cgroup2 rw\n")
    found = Cgroups(proc)
    assert found.why == ""
    return found


def ran(folder: Path, script: str, cgroups: Cgroups | None = None, limits: Limits | None = LIMITS) -> Outcome:
    place = RunFolder(folder / "run")
    place.create()
    plan = LaunchPlan(
        "limited", 1, (sys.executable, "-c", script), folder, {"PATH": "/bin:/usr/bin"}, limits=limits, grace_s=1
    )
    return Runner(plan, place, RuntimeFolder(), cgroups=cgroups).run()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("memory.events", "the training was killed by its memory limit of 4096 MB (recipe digits, memory_mb_max)"),
        ("pids.events", "the training ran into its limit of 16 processes and threads (recipe digits, processes_max)"),
    ],
)
def test_the_run_says_which_limit_ended_it(tmp_path: Path, file: str, said: str) -> None:
    cgroups = plain_cgroups(tmp_path)
    own = tmp_path / "base" / "run-limited.1"
    script = (
        "import os, pathlib\n"
        f"assert pathlib.Path({str(own / 'cgroup.procs')!r}).read_text() == '0', 'started before it was in'\n"
        f"pathlib.Path({str(own / file)!r}).write_text('low 0\\nmax 3\\noom 1\\noom_kill 2\\n')\n"
        "os.kill(os.getpid(), 9)"
    )
    outcome = ran(tmp_path, script, cgroups)
    assert (outcome.end, outcome.exit_code, outcome.message) == ("exit", -9, said)
    assert (tmp_path / "base" / "cgroup.procs").read_text() == "0", "the shim went back"
    assert (own / "pids.max").read_text() == "16"


def test_a_run_that_ended_well_says_nothing_of_its_limits(tmp_path: Path) -> None:
    events = tmp_path / "base" / "run-limited.1" / "pids.events"
    outcome = ran(tmp_path, f"open({str(events)!r}, 'w').write('max 3\\n')", plain_cgroups(tmp_path))
    assert "limit" not in outcome.message


def test_an_own_command_keeps_the_limits_of_who_called(tmp_path: Path) -> None:
    """`detctl record` and `detctl audit -- COMMAND`."""
    import resource

    script = "import json, resource; print(json.dumps([resource.getrlimit(n) for n in (resource.RLIMIT_CORE, resource.RLIMIT_DATA)]))"
    for limits, same in ((None, True), (Limits(512), False)):
        ran(tmp_path, script, limits=limits)
        found = json.loads((tmp_path / "run" / "stdout").read_text())
        here = [list(resource.getrlimit(number)) for number in (resource.RLIMIT_CORE, resource.RLIMIT_DATA)]
        assert (found == here) is same
    assert found == [[0, 0], [512 << 20] * 2]


def test_a_training_has_no_descriptor_of_the_agent(tmp_path: Path) -> None:
    """Nor of whoever started the agent: one that is inherited there ends there."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        ran(tmp_path, "import os; print([fd for fd in range(1024) if os.path.exists(f'/proc/self/fd/{fd}')])")
    finally:
        os.close(read), os.close(write)
    assert (tmp_path / "run" / "stdout").read_text() == "[0, 1, 2]\n"


def test_folders_that_a_training_nested_are_removed_however_deep(tmp_path: Path) -> None:
    place = RunFolder(tmp_path / "deep")
    place.create()
    place.work.mkdir()
    script = (
        "import os\n"
        "for _ in range(3000):\n"
        "    os.mkdir('d')\n"
        "    os.chdir('d')\n"
    )  # fmt: skip
    subprocess.run([sys.executable, "-c", script], cwd=place.work, check=True)
    place.clean_private()
    assert not place.work.exists()
