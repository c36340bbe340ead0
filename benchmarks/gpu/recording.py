"""Runs a training under the staged probe and keeps what it reports in a folder, without agent or coordinator.

    training = start(["planted.py", "index-add"], folder, level="op")
    recording = training.wait(60)            # Recording: records, seal, notes, facts

It replaces `detctl record` on machines that have only torch. A listener on a Unix socket writes the bytes of each connection into a
file of the folder. Recording reads them back with the probe's own frames.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detctl_probe.settings import Settings
from detctl_probe.stage import stage
from detctl_probe.transport import frames
from warm_python import VARIABLE, WarmProcess

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from probe_records import Record, load_json, unpack_records

TRAININGS = Path(__file__).resolve().parent / "trainings"


@dataclass
class Recording:
    """What the main process of a training reported, read from a folder."""

    hello: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seal: dict[str, Any] | None = None
    exit_code: int = 0
    output: str = ""
    errors: str = ""

    @classmethod
    def read(cls, folder: Path) -> Recording:
        """Reads the folder of a Training. Raises ValueError if no main process reported."""
        for file in sorted(folder.glob("*.frames")):
            found = cls(
                exit_code=int((folder / "exit").read_text()),
                output=(folder / "out").read_text("utf-8", "replace"),
                errors=(folder / "err").read_text("utf-8", "replace"),
            )
            for kind, payload in frames.FrameReader().feed(file.read_bytes()):
                found._take(kind, payload)
            if found.hello.get("role") == "main":
                return found
        raise ValueError(f"no process of the training reported: {(folder / 'err').read_text()[-800:]}")

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == frames.RECORDS:
            self.records.extend(unpack_records(payload))
        elif kind == frames.HELLO:
            self.hello = load_json(payload)
        elif kind == frames.NOTE:
            self.notes.append(load_json(payload))
        elif kind == frames.FACTS:
            self.facts = load_json(payload)
        elif kind == frames.SEAL:
            self.seal = load_json(payload)

    def intervention(self, name: str) -> dict[str, Any]:
        """Returns the intervention's row of the seal (value, acted, detail), or an empty one if the seal has none."""
        rows = (self.seal or {}).get("interventions", [])
        return next((row for row in rows if row["name"] == name), {})


class Training:
    """A running training. `process` has pipes only if they were requested."""

    def __init__(
        self, process: subprocess.Popen[str] | WarmProcess, folder: Path, listener: socket.socket | None
    ) -> None:
        self.process = process
        self.folder = folder
        self._listener = listener
        self._thread: threading.Thread | None = None
        if listener is not None:
            self._thread = threading.Thread(target=self._listen, args=(listener,), daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> Recording:
        """Waits for the end. Raises subprocess.TimeoutExpired after killing the training, and ValueError if nothing was recorded."""
        self.ended(seconds)
        return Recording.read(self.folder)

    def ended(self, seconds: float) -> int:
        """Returns the exit code. Raises subprocess.TimeoutExpired after killing the training."""
        try:
            code = self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            self._stop()
        (self.folder / "exit").write_text(str(code))
        return code

    def _listen(self, listener: socket.socket) -> None:
        readers = []
        for number in range(10_000):
            try:
                made, _ = listener.accept()
            except OSError:  # shut down: the training has ended
                break
            readers.append(threading.Thread(target=self._keep, args=(made, number), daemon=True))
            readers[-1].start()
        for reader in readers:
            reader.join()

    def _keep(self, made: socket.socket, number: int) -> None:
        with made, (self.folder / f"{number}.frames").open("wb") as file:
            while data := made.recv(1 << 18):
                file.write(data)

    def _stop(self) -> None:
        if self._listener is not None and self._thread is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(30)
            self._listener.close()


def start(
    arguments: Sequence[str],
    folder: Path,
    *,
    level: str | None,
    interventions: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    pipes: bool = False,
    fresh: bool = False,
) -> Training:
    """Starts `python TRAININGS/arguments…` in a new folder under the probe; level None: uninstrumented. pipes: text on stdin and stdout.

    fresh: start a Python of its own, even if a warm one exists."""
    folder.mkdir(parents=True)
    environ = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **(variables or {})}
    listener = None
    if level is not None:
        place = tempfile.mkdtemp(prefix="dt-")  # a socket's path is short
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"{place}/s")
        listener.listen(16)
        paths = {"cwd": str(TRAININGS)}
        settings = Settings(f"{place}/s", level, paths=paths, interventions=dict(interventions or {}))
        environ.update(settings.to_environment())
        environ["PYTHONPATH"] = os.pathsep.join([stage(str(folder / "probe")), environ.get("PYTHONPATH", "")])
    command = [str(TRAININGS / arguments[0]), *arguments[1:]]
    warm = os.environ.get(VARIABLE)
    process: subprocess.Popen[str] | WarmProcess
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        if warm and not fresh:
            process = WarmProcess(warm, command, environ, out, err, pipes)
        else:
            stdin, stdout = (subprocess.PIPE, subprocess.PIPE) if pipes else (subprocess.DEVNULL, out)
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=TRAININGS,
                env=environ,
                text=True,
                stdin=stdin,
                stdout=stdout,
                stderr=err,
            )
    return Training(process, folder, listener)
