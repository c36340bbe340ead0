"""Classifies why a training failed, from its exit and the last lines of its output. Pure, except that it looks for a missing file."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detctl_proto.recordings.run_failures import TAIL_LINES_MAX, FailureKind

# Python writes these lines; they have not changed in years, and no other form names the module or the file.
_NO_MODULE = re.compile(r"(?:^ModuleNotFoundError: |: )No module named '?([\w.]+)'?")
_NO_FILE = re.compile(r"(?:^FileNotFoundError: |: )\[Errno 2\] No such file or directory: ['\"](.+?)['\"]")
_NO_SCRIPT = re.compile(r": can't open file '(.+?)': \[Errno 2\]")
_NO_MEMORY = re.compile(r"^(?:MemoryError|(?:torch\.(?:cuda\.)?)?OutOfMemoryError)\b")
# What a launcher adds when the program that it started has failed.
_LAUNCHER_REPORT = re.compile(
    r".{0,80}torch[./]distributed[./]elastic[./]multiprocessing[./]api\b|subprocess\.CalledProcessError: |make(?:\[\d+\])?: \*\*\* \[|"
    r"ERROR conda\.cli\.main_run:|srun: error: "
)
_TRACEBACK = "Traceback (most recent call last):"
_LINES_SEARCHED = 60
_LINE_CHARACTERS_MAX = 400


@dataclass(frozen=True)
class Failure:
    """Why a training failed. signal: the name of the signal that ended it. original: where a missing file lies in the folder that
    the run's folder is a copy of. tail: the last lines of the training's own output."""

    kind: FailureKind
    exit_code: int = 0
    signal: str = ""
    module: str = ""
    file: str = ""
    original: str = ""
    interpreter: str = ""
    tail: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """How a training ended. end: why the agent ended it, or empty. killed_for_memory: by its memory limit. seen: whether one of its
    processes trained. complete: whether all of its ranks finished what was requested. origin: the folder that `cwd` is a copy of."""

    end: str
    exit_code: int
    stdout: str = ""
    stderr: str = ""
    killed_for_memory: bool = False
    seen: bool = False
    complete: bool = False
    cwd: Path = Path()
    origin: Path | None = None
    interpreter: str = ""


def failure_of(ended: Ended) -> Failure | None:
    """Returns why the training failed, or None if it did not."""
    out, err = _lines(ended.stdout), _without_launcher(_lines(ended.stderr))
    both = [*out[-TAIL_LINES_MAX // 2 :], *err[-TAIL_LINES_MAX // 2 :]]
    if ended.end == "timeout":
        return Failure("timeout", interpreter=ended.interpreter, tail=both)
    if ended.end or ended.complete:
        return None
    if ended.exit_code == 0:
        return None if ended.seen else Failure("no-training", interpreter=ended.interpreter, tail=both)
    found = _reason(ended, err or out)
    return Failure(
        found.kind,
        ended.exit_code,
        _signal(ended.exit_code),
        found.module,
        found.file,
        found.original,
        ended.interpreter,
        (err or out)[-TAIL_LINES_MAX:],
    )


def _reason(ended: Ended, lines: Sequence[str]) -> Failure:
    name = _signal(ended.exit_code)
    if ended.killed_for_memory or name == "SIGKILL":
        return Failure("out-of-memory")
    if name:
        return Failure("crash")
    for line in reversed(lines[-_LINES_SEARCHED:]):
        if found := _NO_MODULE.search(line):
            return Failure("no-torch" if found[1] == "torch" else "missing-module", module=found[1])
        if found := _NO_FILE.search(line) or _NO_SCRIPT.search(line):
            return Failure("missing-file", file=found[1], original=_original(ended, found[1]))
        if _NO_MEMORY.search(line):
            return Failure("out-of-memory")
    return Failure("not-started" if ended.exit_code == 127 and not lines else "exit")


def _without_launcher(lines: list[str]) -> list[str]:
    """The lines before the report of a launcher; all lines if there are none before it."""
    at = next((number for number, line in enumerate(lines) if _LAUNCHER_REPORT.match(line)), len(lines))
    if at < len(lines) and lines[at].startswith("subprocess."):  # the traceback of the launcher itself ends here
        at = max((number for number, line in enumerate(lines[:at]) if line == _TRACEBACK), default=at)
    return lines[:at] or lines


def _original(ended: Ended, file: str) -> str:
    """Where the file lies in the original folder; empty if it does not exist there either, or if there is no copy."""
    if ended.origin is None or ended.origin == ended.cwd:
        return ""
    place = ended.cwd / file
    if not place.is_relative_to(ended.cwd):
        return ""
    original = ended.origin / place.relative_to(ended.cwd)
    return str(original) if original.exists() else ""


def _signal(exit_code: int) -> str:
    """The name of the signal that ended a process, or a process of the shell that reports it as 128 + number."""
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        return signal.Signals(number).name if number > 0 else ""
    except ValueError:
        return ""


def _lines(text: str) -> list[str]:
    """The lines that are not blank, without the frames of our probe in tracebacks."""
    found, in_probe = [], False
    for line in text.splitlines():
        if line.startswith('  File "'):
            in_probe = "/detctl_probe/" in line
        elif not line.startswith("    "):
            in_probe = False
        if line.strip() and not in_probe:
            found.append(line.rstrip()[:_LINE_CHARACTERS_MAX])
    return found
