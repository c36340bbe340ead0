"""A running deployment: coordinator and agents as real processes, and the commands that users type."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent / "recipes"
DEADLINE_S = 120
RUN_DIRS: list[str] = []  # of every deployment of this process: trainings that belong to it name it in their variables


def wait_for(what: str, condition: Any, deadline_s: float = DEADLINE_S) -> Any:
    """Polls until condition() is true and returns its value; fails with `what` after the deadline.

    It rests as long as asking took: a command that asks without end would take the core that the trainings need.
    """
    end = time.monotonic() + deadline_s
    while (asked := time.monotonic()) < end:
        value = condition()
        if value:
            return value
        time.sleep(max(0.05, time.monotonic() - asked))  # other processes are polled; as long as asking took
    raise AssertionError(f"not within {deadline_s} s: {what}")


def free_port() -> int:
    """A TCP port of loopback that nobody held a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def make_numbers(folder: Path, count: int = 64) -> Path:
    """Files 0.txt … with 16 numbers each, the data of recipes/mlp."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        words = ((number * 31 + place * 17) % 23 / 23 for place in range(16))
        (folder / f"{number}.txt").write_text(" ".join(f"{word:.6f}" for word in words))
    return folder


def catalog(
    data: Path, *, arguments: str = "", timeout_s: int = 120, environments: str = "", python: str = sys.executable
) -> str:
    """A catalog with the recipe `mlp` (parameters data, workers, steps) and the given environments besides default."""
    extra = "".join(f', "{word}"' for word in arguments.split())
    return f"""
[recipes.mlp]
command = ["python", "train.py", "--data", "{{data}}", "--workers", "{{workers}}", "--steps", "{{steps}}"{extra}]
folder = "{RECIPES / "mlp"}"
timeout_s = {timeout_s}
paths = ["data"]
[recipes.mlp.parameters]
data = "{data}"
workers = 0
steps = 6
[environments.default]
python = "{python}"
variables = {{ OMP_NUM_THREADS = "1" }}
{environments}
"""


@dataclass
class Deployment:
    """`folder` holds everything; `store` is an address for --store."""

    folder: Path
    store: str = ""
    coordinator_options: list[str] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run_dir = Path(tempfile.mkdtemp(prefix="dt", dir="/dev/shm"))  # short: Unix sockets end at 107 bytes
        RUN_DIRS.append(str(self.run_dir))
        self.address = f"unix:{self.run_dir}/c.sock"
        self.gate = self.run_dir / "gate"  # for trainings with --gate
        self.store = self.store or f"sqlite:{self.folder}/store.db"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DETCTL")},
            # "python" in a command is the interpreter under test, whether or not its environment is activated
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_RUNTIME_DIR": str(self.run_dir),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "DETCTL_COORDINATOR": self.address,
            "COLUMNS": "160",
            "DETCTL_KNOWN_ANSWERS": "0",  # five seconds an agent; test_kat.py asks
        }

    def within(self, host: str) -> list[str]:
        """A command's beginning that puts it onto a host; empty: the coordinator's. Here there is but one."""
        return []

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        host = name.removeprefix("agent-") if name.startswith("agent-") else ""
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [*self.within(host), sys.executable, "-m", *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=self.environment, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def coordinator(self) -> None:
        """Starts (or restarts) the coordinator and waits until it answers."""
        self.start(
            "coordinator",
            "detctl_coordinator.main",
            "--listen",
            self.address,
            "--store",
            self.store,
            *self.coordinator_options,
        )
        wait_for("coordinator answers", lambda: self.detctl("machines", check=False).returncode == 0)

    def agent(self, name: str, text: str) -> None:
        """Starts (or restarts) an agent with this catalog and waits until the coordinator knows it."""
        path = self.folder / f"{name}.toml"
        path.write_text(text)
        path.chmod(0o600)
        self.start(
            f"agent-{name}", "detctl_agent.main", "--name", name, "--coordinator", self.address, "--catalog", str(path),
            "--state", str(self.folder / f"agent-{name}"),
        )  # fmt: skip
        wait_for(f"{name} is connected", lambda: self.machine(name).get("connected"))

    def segments(self) -> int:
        """How many the SQLite store holds, while its coordinator runs."""
        with closing(sqlite3.connect(f"file:{self.folder}/store.db?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM segments").fetchone()[0])

    def machine(self, name: str) -> dict[str, Any]:
        listed = json.loads(self.detctl("machines", "--json").stdout)
        return next((m for m in listed["machines"] if m["name"] == name), {})

    def detctl(
        self, *arguments: str, check: bool = False, timeout_s: float = 280, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        host = options.pop("host", "")
        environment = {**self.environment, **options.pop("env", {})}
        return subprocess.run(
            [*self.within(host), sys.executable, "-m", "detctl_cli.main", *arguments], env=environment,
            cwd=options.pop("cwd", self.folder), capture_output=True, text=True, timeout=timeout_s, check=check,
            stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    def gated(self, data: Path) -> str:
        """A catalog whose training waits at the gate, and sends more records behind it."""
        return catalog(data, arguments=f"--gate {self.gate} --pause 0.1 --by-hand").replace("steps = 6", "steps = 20")

    def audit(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """An audit that goes on while the test does something to it; communicate() gives its verdict's JSON."""
        return subprocess.Popen(
            [*self.within(""), sys.executable, "-m", "detctl_cli.main", "audit", *arguments, "--json"],
            env={**self.environment, **env}, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def until_training(self, audit: subprocess.Popen[str], *machines: str) -> None:
        """Waits until a run on each machine is at its gate: it is under way, and the records before have arrived."""

        def at_gate() -> bool:
            assert audit.poll() is None, "the audit ended: " + "".join(audit.communicate()) + self.logs()
            listed = json.loads(self.detctl("runs", "--json").stdout or "{}").get("runs", [])
            return {run["machine"] for run in listed if run["state"] == "running" and run["records"]} >= set(machines)

        wait_for(f"training on {', '.join(machines)}", at_gate)

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command that goes on while the test does; its output goes to command.log."""
        return self.start("command", "detctl_cli.main", *arguments)

    def verdict(self, *arguments: str, exit_code: int | None = None, timeout_s: float = 280) -> dict[str, Any]:
        """The verdict of a command with --json; checks the exit code where one is given."""
        done = self.detctl(*arguments, "--json", timeout_s=timeout_s)
        if exit_code is not None:
            assert done.returncode == exit_code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return json.loads(done.stdout)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(30)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name, signal.SIGTERM)
        shutil.rmtree(self.run_dir, ignore_errors=True)
