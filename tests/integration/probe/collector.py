"""Runs a real training process under the staged probe and collects its frames from a real Unix socket.

    processes = collect([sys.executable, "train.py"], cwd=folder, window=[0, 4], paths={"data": data})
    main = processes.main
    main.records, main.seal, main.sites("forward")

Shared by all tests of the probe. The reader checks what the agent would: gapless sequences, the fold of every stream.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detctl_probe.settings import Settings
from detctl_probe.stage import stage
from detctl_probe.transport import chain, frames
from warm import SCRIPT, Training, warm

from tests.support.probe_records import Record, load_json, unpack_records


@dataclass
class Process:
    """One connection: the frames of one process. `steps`: (step, skipped) in order; `error`: why its bytes made no sense."""

    hello: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    steps: list[tuple[int, bool]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seal: dict[str, Any] | None = None
    kinds: list[int] = field(default_factory=list)
    error: str | None = None

    @property
    def role(self) -> str:
        return str(self.hello["role"])

    def of(self, stage_name: str, step: int | None = None) -> list[Record]:
        """Records of a stage, in program order."""
        return [r for r in self.records if r.stage == stage_name and (step is None or r.step == step)]

    def sites(self, stage_name: str, step: int | None = None) -> list[str]:
        return [record.site for record in self.of(stage_name, step)]

    def notes_of(self, kind: str) -> list[dict[str, Any]]:
        return [note for note in self.notes if note["kind"] == kind]

    def seal_row(self, name: str) -> list[dict[str, Any]]:
        """A list of the seal: `interventions` or `unobserved`."""
        assert self.seal is not None, "no seal arrived"
        return list(self.seal[name])

    def compared(self) -> list[tuple[Any, ...]]:
        """All that a comparison sees, in program order: two runs are equal when these are."""
        return [
            (r.stage, r.phase, r.step, r.micro, r.site, r.occurrence, r.dtype, r.shape, r.digest, r.order_blind)
            for r in self.records
        ]

    def check(self) -> None:
        """Raises AssertionError where sequence, counts or chains do not add up to the seal."""
        assert self.error is None, self.error
        assert [r.sequence for r in self.records] == list(range(len(self.records)))
        assert self.seal is not None, "no seal arrived"
        assert self.seal["sequence"] == len(self.records)
        assert self.folded() == self.seal["streams"]

    def folded(self) -> dict[str, dict[str, Any]]:
        """The streams as the records make them, in the form of the seal."""
        folds: dict[tuple[str, str], dict[int, chain.StepFold]] = {}
        for r in self.records:
            steps = folds.setdefault((r.stage, r.phase), {})
            hash_ = chain.record_hash(r.site, r.occurrence, r.dtype, r.shape, r.digest, r.order_blind)
            steps.setdefault(r.step, chain.StepFold()).take(hash_)
        streams = {}
        for key, steps in folds.items():
            value = chain.ZERO
            for step, fold in steps.items():
                value = chain.chain(value, step, fold.digest)
            count = sum(fold.count for fold in steps.values())
            streams["/".join(key)] = {"steps": len(steps), "count": count, "chain": value.hex()}
        return streams


@dataclass
class Collected:
    """The frames of a command and its children, one Process for each connection, in the order of connecting."""

    processes: list[Process]
    returncode: int
    stdout: str
    stderr: str

    @property
    def main(self) -> Process:
        """The one process of role main."""
        mains = [process for process in self.processes if process.role == "main"]
        assert len(mains) == 1, f"{len(mains)} main processes; stderr: {self.stderr}"
        return mains[0]

    @property
    def children(self) -> list[Process]:
        return [process for process in self.processes if process.role == "child"]


def collect(
    command: list[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: dict[str, str] | None = None,
    paths: dict[str, str] | None = None,
    level: str = "module",
    window: list[int | None] | None = None,
    interventions: dict[str, str] | None = None,
    budget: float | None = None,
    stop_after: int | None = None,
    timeout_s: float = 120.0,
    check: bool = True,
    start_warm: bool = False,
) -> Collected:
    """Runs `command` to its end under a freshly staged probe; see the module's text.

    paths gets {"cwd": cwd} where it names none; stop_after: a STOP frame is sent to every process as soon as it
    connects. check: raises AssertionError where a process that sealed does not add up. start_warm: `python train.py`,
    and nothing else, starts from the Python of warm.py. Raises subprocess.TimeoutExpired (the process is killed) after timeout_s.
    """
    folder = Path(tempfile.mkdtemp(prefix="dt-"))
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(folder / "s"))
        listener.listen(64)
        place = str(cwd or Path.cwd())
        start, end = window or [0, None]
        settings = Settings(
            socket=str(folder / "s"),
            level=level,
            window_start=start or 0,
            window_end=end,
            paths={"cwd": place, **(paths or {})},
            interventions=interventions or {},
            budget=budget,
        )
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        below = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = stage(str(folder / "probe")) + (os.pathsep + below if below else "")
        variables.update(settings.to_environment())
        with listener:
            training = _started(command, Path(place), variables, folder, start_warm)
            reader = _Reader(listener, stop_after)
            try:
                reader.until_ended(training, timeout_s)
            finally:
                training.kill()
                code = training.wait()
            collected = Collected(reader.processes, code, (folder / "out").read_text(), (folder / "err").read_text())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if check:
        for process in collected.processes:
            if process.seal is not None:
                process.check()
    return collected


def without_probe(
    command: list[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: dict[str, str] | None = None,
    timeout_s: float = 120.0,
    start_warm: bool = False,
) -> subprocess.CompletedProcess[str]:
    """The same command bare, for the tests of neutrality; start_warm as for collect."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        training = _started(command, Path(cwd or Path.cwd()), variables, folder, start_warm)
        try:
            code = training.wait(timeout_s)
        finally:
            training.kill()
            training.wait()
        out, err = (folder / "out").read_text(), (folder / "err").read_text()
    return subprocess.CompletedProcess(command, code, out, err)


def _started(
    command: list[str], cwd: Path, env: dict[str, str], folder: Path, start_warm: bool
) -> subprocess.Popen[bytes] | Training:
    """The command under way; it writes into folder/out and folder/err."""
    if start_warm:
        assert command == [sys.executable, SCRIPT], f"no command for warm.py: {command}"
        return warm().start(cwd=cwd, env=env, out=folder / "out", err=folder / "err")
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=err, stdin=subprocess.DEVNULL)


def of_the_probe(stderr: str) -> list[str]:
    """Lines that the probe wrote, or that name its modules. The checkout's own folder may be called detctl too."""
    return [line for line in stderr.splitlines() if line.startswith("detctl: ") or "detctl_probe" in line]


def script(folder: Path, text: str, name: str = SCRIPT) -> list[str]:
    """Writes a script and returns the command that runs it by this interpreter."""
    (folder / name).write_text(text)
    return [sys.executable, name]


class _Reader:
    """Accepts and reads until the training has ended and every connection is closed."""

    def __init__(self, listener: socket.socket, stop_after: int | None) -> None:
        self.processes: list[Process] = []
        self._listener = listener
        self._stop_after = stop_after
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._open = 0

    def until_ended(self, training: subprocess.Popen[bytes] | Training, timeout_s: float) -> None:
        ended = os.pidfd_open(training.pid)
        self._selector.register(ended, selectors.EVENT_READ, "ended")
        running = True
        try:
            while running or self._open or self._waiting():
                events = self._selector.select(timeout_s)
                if not events:
                    raise subprocess.TimeoutExpired(training.args, timeout_s)
                for key, _ in events:
                    if key.data == "ended":
                        self._selector.unregister(ended)
                        running = False
                    elif key.data is None:
                        self._accept()
                    else:
                        self._read(key.fileobj, *key.data)
        finally:
            os.close(ended)
            self._selector.close()

    def _waiting(self) -> bool:
        """A process may have connected and gone before it was accepted."""
        self._listener.setblocking(False)
        try:
            self._accept()
        except BlockingIOError:
            return False
        return True

    def _accept(self) -> None:
        made, _ = self._listener.accept()
        if self._stop_after is not None:
            with contextlib.suppress(BrokenPipeError):  # a process may be through before it was accepted
                made.sendall(frames.stop_frame(self._stop_after))
        process = Process()
        self.processes.append(process)
        self._selector.register(made, selectors.EVENT_READ, (process, frames.FrameReader()))
        self._open += 1

    def _read(self, made: Any, process: Process, reader: frames.FrameReader) -> None:
        try:
            data = made.recv(1 << 18)
            for kind, payload in reader.feed(data):
                _take(process, kind, payload)
        except (OSError, ValueError) as error:
            process.error = str(error)
            data = b""
        if not data:
            if reader.left and process.error is None:
                process.error = f"cut inside a frame, {reader.left} bytes left"
            self._selector.unregister(made)
            made.close()
            self._open -= 1


def _take(process: Process, kind: int, payload: bytes) -> None:
    process.kinds.append(kind)
    if kind == frames.IMPORTED:
        return
    if kind == frames.HELLO:
        process.hello = load_json(payload)
    elif kind == frames.RECORDS:
        process.records.extend(unpack_records(payload))
    elif kind == frames.STEP:
        process.steps.append(frames.unpack_step(payload))
    elif kind == frames.NOTE:
        process.notes.append(load_json(payload))
    elif kind == frames.FACTS:
        process.facts = load_json(payload)
    elif kind == frames.SEAL:
        process.seal = load_json(payload)
    else:
        raise ValueError(f"frame of type {kind}")
