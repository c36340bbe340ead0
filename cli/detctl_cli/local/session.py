"""Runs a coordinator and, for trainings, an agent as long as one command runs."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detctl_proto.files.private_files import private
from detctl_proto.syntax.names import machine_name

from detctl_cli.config import Config
from detctl_cli.errors import CliError
from detctl_cli.local.children import Child
from detctl_cli.local.free_space import FreeSpace, need_space
from detctl_cli.local.places import (
    STORE,
    data_folder,
    find_data_folder,
    holder_of,
    locked,
    prepare,
    socket_folder,
)
from detctl_cli.output.terminal import note

if TYPE_CHECKING:
    from detctl_cli.service.client import Coordinator

START_S = 60.0  # a cold start on a busy machine; a child that exits ends the wait at once
_LOOK_S = 0.05

COORDINATOR = "detctl_coordinator.main"
AGENT = "detctl_agent.main"
ANNOUNCED = "coordinator"  # file with the address of a running audit's coordinator, for commands in other terminals


def has_local_data(cwd: Path | None = None) -> bool:
    """Returns whether an audit in this folder, or in one above it, has left data."""
    return find_data_folder(Path.cwd() if cwd is None else cwd) is not None


@contextmanager
def stored_here() -> Iterator[Coordinator]:
    """Yields a coordinator over the data of this folder or of the nearest one above it, to list, show, compare, cancel and delete.

    It is the one of an audit that runs here, else one without an agent that is started for this call.
    """
    here = Path.cwd()
    folder, place = find_data_folder(here) or (data_folder(here)[0], here)
    if place != here:
        note(f"reading the data of {place}")
    with _running_in(folder) as running:
        if running is not None:
            yield running
            return
    prepare(folder)
    with locked(folder) as lock, stored_in(folder, folder / "logs", lock) as coordinator:
        yield coordinator


@contextmanager
def stored_in(folder: Path, logs: Path, lock: int) -> Iterator[Coordinator]:
    """Yields a coordinator over the data of a folder whose lock the caller holds, without an agent."""
    with _coordinator(folder / STORE, logs, (lock,)) as coordinator:
        yield coordinator


@contextmanager
def temporary_store(report: Callable[[str], None] = lambda stage: None) -> Iterator[Coordinator]:
    """Yields a coordinator over an empty store, which is deleted afterwards: for folders of `detctl record`.

    report: gets what is happening, for people."""
    report("starting the comparison")
    with (
        tempfile.TemporaryDirectory(prefix="detctl-compare-", ignore_cleanup_errors=True) as name,
        _coordinator(Path(name) / STORE, Path(name), ()) as coordinator,
    ):
        yield coordinator


@dataclass(frozen=True)
class LocalService:
    """How the agent of a command works. parallel: number of runs at a time, besides those that fit side by side.

    only_kept_answers: the known-answer test does not run. Its answers only help to compare configurations, and take seconds."""

    parallel: int = 1
    only_kept_answers: bool = False

    def arguments(self) -> list[str]:
        """Returns the options of the agent."""
        return ["--parallel", str(self.parallel), *(["--only-kept-answers"] if self.only_kept_answers else [])]


@contextmanager
def local_machine(
    catalog: str,
    service: LocalService = LocalService(),
    place: Path | None = None,
    report: Callable[[str], None] = lambda stage: None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[tuple[Coordinator, str]]:
    """Yields a coordinator over ./.detctl and the name of its machine, an agent with this catalog (TOML).

    Both end with the `with` block, and also when this process is killed. place: another folder than the current one.
    report: gets what is happening, for people. environ: the variables of the trainings; None: those of this process.
    """
    folder, reason = data_folder(place or Path.cwd())
    if reason:
        note(f"{reason}; the data goes to {folder}")
    prepare(folder)
    need_space(folder)
    report("starting the coordinator and the agent of this command")
    with locked(folder) as lock, socket_folder() as sockets:
        path = folder / "catalog.toml"
        with open(path, "w", encoding="utf-8", opener=private) as stream:  # the command may contain credentials
            stream.write(catalog)
        name = machine_name()
        arguments = ["--name", name, "--coordinator", f"unix:{sockets / 'c'}", "--catalog", str(path)]
        arguments += ["--state", str(folder / "agent"), "--inherit-environment", *service.arguments()]
        log = folder / "logs" / "agent.log"
        announced = folder / ANNOUNCED
        # Each takes a second to start, so they start at the same time. The agent tries to connect until it can.
        starting = _starting(folder / STORE, folder / "logs", (lock,), sockets)
        try:
            with starting as connect:
                agent = Child("local agent", AGENT, arguments, log, keep_fds=(lock,), environ=environ)
                try:
                    with connect() as coordinator:
                        _wait_for_machine(coordinator, name, agent)
                        coordinator.check = FreeSpace(folder).check
                        with open(announced, "w", encoding="utf-8", opener=private) as stream:
                            stream.write(coordinator.address)
                        yield coordinator, name
                finally:
                    announced.unlink(missing_ok=True)
                    agent.stop()
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def _running_in(folder: Path) -> Iterator[Coordinator | None]:
    """Yields the coordinator of an audit that runs here, if there is one. Its address counts only while the lock is held."""
    address = ""
    if holder_of(folder):
        with suppress(OSError):
            address = (folder / ANNOUNCED).read_text(encoding="utf-8")
        if not Path(address.removeprefix("unix:")).exists():
            address = ""  # a killed command left it
    from detctl_cli.service.client import Coordinator

    coordinator = Coordinator(Config(address, Path(os.devnull), "local mode")) if address else None
    if coordinator is not None:
        try:
            coordinator.__enter__()
        except CliError:
            coordinator = None  # it ends at this moment
    try:
        yield coordinator
    finally:
        if coordinator is not None:
            coordinator.__exit__(*sys.exc_info())


@contextmanager
def _coordinator(store: Path, logs: Path, keep_fds: tuple[int, ...]) -> Iterator[Coordinator]:
    with socket_folder() as sockets, _starting(store, logs, keep_fds, sockets) as connect, connect() as coordinator:
        yield coordinator


@contextmanager
def _starting(
    store: Path, logs: Path, keep_fds: tuple[int, ...], sockets: Path
) -> Iterator[Callable[[], AbstractContextManager[Coordinator]]]:
    """Starts a coordinator, and yields a function that waits for it and connects."""
    path = sockets / "c"
    arguments = ["--listen", f"unix:{path}", "--store", f"sqlite:{store}"]
    child = Child("embedded coordinator", COORDINATOR, arguments, logs / "coordinator.log", keep_fds=keep_fds)
    try:
        yield lambda: _connect(path, child, time.monotonic() + START_S)
    finally:
        child.stop()


@contextmanager
def _connect(path: Path, child: Child, deadline: float) -> Iterator[Coordinator]:
    # Importing gRPC takes a while: by now the services are starting.
    from detctl_cli.service.client import Coordinator

    config = Config(f"unix:{path}", Path(os.devnull), "local mode")
    while not path.exists():
        _pause(child, deadline)
    while True:
        coordinator = Coordinator(config)
        try:
            coordinator.__enter__()
            break
        except CliError:
            _pause(child, deadline)
    try:
        yield coordinator
    finally:
        coordinator.__exit__(*sys.exc_info())


def _wait_for_machine(coordinator: Coordinator, name: str, agent: Child) -> None:
    from detctl_proto.v1.audits_pb2 import ListRequest

    started, deadline = time.time(), time.monotonic() + START_S
    while True:
        for machine in coordinator.machines(ListRequest()):
            # An earlier command may have left the same machine in the store.
            if machine.name == name and machine.connected and machine.last_seen_unix_s >= started - 1:
                return
        _pause(agent, deadline)


def _pause(child: Child, deadline: float) -> None:
    child.check()
    if time.monotonic() > deadline:
        raise CliError("child", f"the {child.name} is not ready after {START_S:.0f} s", f"see its log: {child.log}")
    time.sleep(_LOOK_S)
