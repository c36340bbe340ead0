"""The shim reports the exit code of a training that ends before the shim has finished starting it."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from detctl_agent.launcher.cgroup import Cgroup
from detctl_agent.launcher.process import Launched


def zombie_below(shim: int) -> bool:
    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    return any(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z" for child in children)


def test_a_training_that_ends_at_once_has_an_exit_code(tmp_path: Path) -> None:
    fifo = tmp_path / "leave"
    os.mkfifo(fifo)  # the shim blocks here, behind the start of its child
    cgroup = cast(Cgroup, SimpleNamespace(order={"leave": str(fifo)}))
    launched = Launched(["true"], tmp_path, {"PATH": os.defpath}, cgroup=cgroup)
    try:
        deadline = time.monotonic() + 60
        while not zombie_below(launched.shim_pid) and time.monotonic() < deadline:
            os.sched_yield()
        fifo.read_text()
        reports: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            select.select([launched.reports], [], [], 60)
            new = launched.read_reports()
            if new is None:
                break
            reports += new
        assert [report["exit"] for report in reports if "exit" in report] == [0], reports
    finally:
        launched.close()
