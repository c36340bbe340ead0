"""Runs trainings in a container: with the image's operating system, Python and libraries, and otherwise as without a container.

Folders have the same paths inside and outside, so that no setting of a run has to be translated. detctl uses the command line of
Podman or Docker, because it follows the user's own configuration, rootless or not.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher.account import Account
from detctl_agent.launcher.limits import Limits
from detctl_agent.launcher.sweep import RUN_ID_VARIABLE
from detctl_agent.launcher.variables import without_secrets

ENGINES = ("podman", "docker")  # Podman first: it needs no daemon that is root
ENGINE_TIMEOUT_S = 60.0
SHARED_MEMORY = (
    "8g"  # a limit, not a reservation: DataLoader workers pass batches through it, and the usual 64 MiB kill them
)
# The agent's variables that the engine's command line needs; the training gets none of them.
ENGINE_VARIABLES = ("PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DOCKER_HOST",
                    "DOCKER_CONFIG", "CONTAINER_HOST", "CONTAINERS_CONF", "TMPDIR")  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image that is on this machine. engine: absolute path of podman or docker; variables: those that it sets, except secrets."""

    engine: str
    name: str
    id: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Container:
    """How commands of one run start in an image. key: the run's; network: the value of `--network`; account: the user that they run
    as; None: the user of the agent."""

    image: Image
    key: str
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: str = "none"
    account: Account | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def name(self) -> str:
        return f"detctl-{self.key}"

    @property
    def removal(self) -> tuple[str, ...]:
        """The command that removes the run's container, whatever state it is in."""
        return (self.image.engine, "rm", "--force", self.name)

    def command(self, argv: Sequence[str], cwd: Path, variables: Mapping[str, str], name: str = "") -> tuple[str, ...]:
        """The command of the engine that starts `argv` inside with these variables."""
        host = socket.gethostname()  # a name of its own would differ between twins
        arguments = [
            self.image.engine, "run", "--rm", "--init", "--pull=never", "--name", name or self.name,
            "--label", f"detctl.run={self.key}", *_user(self.image.engine, self.account),
            "--cap-drop=ALL", "--security-opt=no-new-privileges",
            "--security-opt=label=disable",  # SELinux: the run's folders stay labelled as the agent's own
            f"--network={self.network}", *_host_name(host, self.network),
            f"--shm-size={SHARED_MEMORY}", *_gpus(self.image.engine), *_limits(self.limits),
        ]  # fmt: skip
        for path, read_only in self._mounts():
            arguments += ["--mount", _mount(path, read_only)]
        arguments += ["--workdir", str(cwd)]
        for variable, value in {**variables, RUN_ID_VARIABLE: self.key}.items():
            arguments += ["--env", f"{variable}={value}"]
        # The recipe's command runs instead of the image's entrypoint, as everywhere else.
        return (*arguments, "--entrypoint", argv[0], self.image.id, *argv[1:])

    def ask(self, argv: Sequence[str], variables: Mapping[str, str], timeout_s: float) -> str:
        """The stdout of a command in a separate container. Raises OSError or subprocess.SubprocessError."""
        name = f"{self.name}-asked"
        try:
            return subprocess.run(
                self.command(argv, Path("/"), variables, name),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=True,
                env=engine_variables(),
            ).stdout  # fmt: skip
        except subprocess.TimeoutExpired:
            _engine(self.image.engine, "rm", "--force", name)
            raise

    def exit_code(self, code: int) -> int:
        """The exit code that the process would have without a container: negative for a signal."""
        return 128 - code if 128 < code < 128 + 65 else code

    def _mounts(self) -> Iterator[tuple[Path, bool]]:
        chosen = dict.fromkeys(self.writable, False) | {
            path: True for path in self.readable if path not in self.writable
        }
        for path in sorted(chosen):  # parents before what lies in them
            if path.exists():  # the training itself reports missing data
                yield path, chosen[path]


def find_image(name: str) -> Image:
    """The image of an environment, in the first engine that has it. Raises RunRefusedError if it is not on this machine, or no engine
    can run it."""
    engines = [found for word in ENGINES if (found := shutil.which(word))]
    if not engines:
        raise RunRefusedError(f"image {name}: this machine's PATH has neither podman nor docker: install one of them")
    problems = []
    for engine in engines:
        try:
            inspected = _engine(engine, "image", "inspect", name)
        except (OSError, subprocess.TimeoutExpired):
            problems.append(f"{engine} did not answer within {ENGINE_TIMEOUT_S:.0f} s")
            continue
        if not inspected.returncode:
            return _image(engine, name, inspected.stdout)
        why = (inspected.stderr.strip().splitlines() or [f"exit code {inspected.returncode}"])[-1]
        absent = "no such image" in why.lower() or "not known" in why.lower()
        problems.append(f"is not on this machine: {Path(engine).name} pull {name}" if absent else why)
    raise RunRefusedError(f"image {name} {'; '.join(problems)}")


def _image(engine: str, name: str, inspected: str) -> Image:
    (found,) = json.loads(inspected)
    settings = found.get("Config") or {}
    variables = dict(item.partition("=")[::2] for item in settings.get("Env") or ())
    return Image(engine, name, found["Id"], without_secrets(variables))


def engine_variables() -> dict[str, str]:
    """The variables of the engine's own command line."""
    return {name: value for name, value in os.environ.items() if name in ENGINE_VARIABLES}


def _engine(engine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [engine, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ENGINE_TIMEOUT_S,
        check=False, env=engine_variables(),
    )  # fmt: skip


@cache
def _user(engine: str, account: Account | None) -> tuple[str, ...]:
    """Options for the user in the container, who connects to the probe's socket and owns the files: the agent's own user, or `account`.
    Raises RunRefusedError."""
    if account:
        if _rootless(engine):
            raise RunRefusedError(
                f"user {account.name}: {Path(engine).name} runs without root here and cannot start containers as another user: "
                "leave `user` out of the environment"
            )
        return (f"--user={account.uid}:{account.gid}", *(f"--group-add={group}" for group in account.groups))
    if Path(engine).name == "podman":
        return ("--userns=keep-id",) if os.getuid() else ("--user=0:0",)
    return ("--user=0:0",) if _rootless(engine) else (f"--user={os.getuid()}:{os.getgid()}",)


def _rootless(engine: str) -> bool:
    if Path(engine).name == "podman":
        return os.geteuid() != 0  # it has no daemon: whoever calls it runs the containers
    return "rootless" in _engine(engine, "info", "--format", "{{json .SecurityOptions}}").stdout


def _limits(limits: Limits) -> tuple[str, ...]:
    found = [f"--pids-limit={limits.processes_max}", "--ulimit=core=0"]
    if limits.memory_bytes is not None:  # memory and swap together: otherwise the same amount may be swapped out
        found += [f"--memory={limits.memory_bytes}b", f"--memory-swap={limits.memory_bytes}b"]
    return tuple(found)


def _host_name(host: str, network: str) -> tuple[str, ...]:
    return () if network == "host" else (f"--hostname={host}", f"--add-host={host}:127.0.0.1")


@cache
def _gpus(engine: str) -> tuple[str, ...]:
    if not Path("/dev/nvidia0").exists():
        return ()
    return ("--device=nvidia.com/gpu=all",) if Path(engine).name == "podman" else ("--gpus=all",)


def _mount(path: Path, read_only: bool) -> str:
    """`--mount` takes a line of CSV: a comma or a quote in a path must not end its field."""
    line = io.StringIO()
    fields = ["type=bind", f"src={path}", f"dst={path}", *(["readonly"] if read_only else [])]
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
