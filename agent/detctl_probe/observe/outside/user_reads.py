"""Notes where the user's own code reads the clock, folder, host, user or process (notes `outside`).

The probe patches the functions that can be patched without notice, and finds the others in the sources (sources.py). A note has file and
line, the value if it names a place, and what the source does with the value (value_flow.py). Each line is noted once. Later calls cost a
look-up.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from types import CodeType, FrameType
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from detctl_probe.observe.outside.reading_calls import CLOCK, FOLDER, HOME, HOST, PROCESS, PROCESSORS, USER, VARIABLES
from detctl_probe.observe.outside.sources import Sources, line_of
from detctl_probe.observe.outside.value_flow import Read
from detctl_probe.process import callers
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import Builtin
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

PLACES_MAX = 4096  # call sites that are remembered
VALUE_CHARS_MAX = 200
FRAMES_MAX = 8

# Functions in C: they keep the look of builtins.
_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "strftime", "localtime")
_TAKE_A_TIME = {"time.strftime": 1, "time.localtime": 0}  # with more arguments than these they do not read the clock
_OF_OS = {
    "getcwd": FOLDER, "getpid": PROCESS, "getppid": PROCESS, "getuid": USER, "uname": HOST, "cpu_count": PROCESSORS,
    "sched_getaffinity": PROCESSORS,
}  # fmt: skip
# Functions in Python, of modules that the training may import.
_OF_MODULES = (
    ("socket", "gethostname", HOST), ("platform", "node", HOST), ("getpass", "getuser", USER),
    ("posixpath", "expanduser", HOME),
)  # fmt: skip
_PATCHED = frozenset(
    [
        *("time.%s" % name for name in _CLOCKS),
        *("os.%s" % name for name in _OF_OS),
        "pathlib.Path.cwd",
        "pathlib.Path.home",
    ]
    + ["%s.%s" % row[:2] for row in _OF_MODULES]
    + ["os.path.expanduser", "Path.resolve", "Path.absolute", "Path.expanduser"]
)


class _Seen(NamedTuple):
    file: str
    line: int
    call: str
    source: str
    value: str  # empty: the value names no place
    function: str
    seen: bool = True


def install(recorder: Recorder) -> None:
    """Patches the functions now or when their module is imported. Notes are sent when the first step begins, and from then on at once."""
    _UserReads(recorder)


class _UserReads:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.row = recorder.observer("user_reads", "code")
        # Call sites that need no further look. Code objects are kept, so that no other takes their id.
        self._known: Dict[Tuple[int, int], CodeType] = {}
        self._noted: Set[Tuple[str, int, str]] = set()
        self._waiting: Optional[List[_Seen]] = []
        self._sources = Sources(recorder)
        for name in _CLOCKS:
            self._patch(time, name, CLOCK)
        for name, source in _OF_OS.items():
            if hasattr(os, name):
                self._patch(os, name, source)
        for module, name, source in _OF_MODULES:
            when_imported(module, functools.partial(self._patch, name=name, source=source))
        recorder.at_step_start(self._begin)

    def _patch(self, module: Any, name: str, source: str) -> None:
        original = getattr(module, name)
        call = "%s.%s" % ("os.path" if module.__name__ == "posixpath" else module.__name__, name)
        known = self._known

        def read(*args: Any, **kwargs: Any) -> Any:
            value = original(*args, **kwargs)
            frame = sys._getframe(depth)
            if (id(frame.f_code), frame.f_lasti) not in known:
                self._see(frame, call, source, args, value)
            return value

        if isinstance(original, (type(len), Builtin)):
            depth = 2  # beyond Builtin.__call__
            setattr(module, name, Builtin(original, read, module.__name__, name))
        else:
            depth = 1
            setattr(module, name, functools.wraps(original)(read))

    def _see(self, near: FrameType, call: str, source: str, args: Tuple[Any, ...], value: Any) -> None:
        """Looks at the first call from a place."""
        recorder = self.recorder
        if recorder.busy or recorder.sealed:
            return
        try:
            kind = recorder.callers.kind(near.f_code.co_filename)
            if kind in (callers.USER, callers.PACKAGE) and len(self._known) < PLACES_MAX:
                self._known[(id(near.f_code), near.f_lasti)] = (
                    near.f_code
                )  # the standard library calls for several users
            frame = near if source == CLOCK else self._beyond_library(near)
            if frame is None or recorder.callers.kind(frame.f_code.co_filename) != callers.USER:
                return
            if len(args) > _TAKE_A_TIME.get(call, 9) or (
                source == HOME and not (args and str(args[0]).startswith("~"))
            ):
                return
            value = "" if source == CLOCK else str(getattr(value, "nodename", value))[:VALUE_CHARS_MAX]
            code = frame.f_code
            self._keep(_Seen(code.co_filename, frame.f_lineno, call, source, value, code.co_name))
        except Exception as error:
            if from_signal(error):
                raise
            recorder.note("observer-failed", "user_reads: %s: %s" % (type(error).__name__, error))

    def _beyond_library(self, frame: Optional[FrameType]) -> Optional[FrameType]:
        """The frame that called through the standard library; None if it was an import, processes that are administered (the
        garbage collector may start that anywhere), or is too far."""
        for _ in range(FRAMES_MAX):
            if frame is None or self.recorder.callers.kind(frame.f_code.co_filename) != callers.STDLIB:
                return frame
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib") or "/multiprocessing/" in file:
                return None
            frame = frame.f_back
        return None

    def _keep(self, seen: _Seen) -> None:
        key = seen.file, seen.line, seen.source
        if key in self._noted or len(self._noted) >= PLACES_MAX:
            return
        self._noted.add(key)
        if self._waiting is not None:
            self._waiting.append(seen)
        else:
            self._send(seen)

    def _begin(self) -> None:
        """Once, when the first step begins: reads the sources, and sends what has waited for them."""
        if self._waiting is None or self.recorder.sealed:
            return
        with self.recorder.working("code"):
            self._sources.load()
            waiting, self._waiting = self._waiting, None
            for seen in sorted(waiting, key=lambda seen: self._read_at(seen) is None):
                self._send(seen)  # what is used comes first: the number of notes is limited
            for file, found in self._sources.reads.items():
                for read in found:
                    if read.call not in _PATCHED and (read.use or read.source == FOLDER):
                        value = _value(read.call, read.source, file)
                        self._keep(_Seen(file, read.line, read.call, read.source, value, "", False))
            self._sources.note_lines()

    def _read_at(self, seen: _Seen) -> Optional[Read]:
        """The read that the source shows there, if the source uses it."""
        found = self._sources.reads.get(os.path.abspath(seen.file), ())
        return next((r for r in found if r.line == seen.line and r.source == seen.source and r.use), None)

    def _send(self, seen: _Seen) -> None:
        with self.recorder.working("code"):
            self.row.fired += 1
            logical = self.recorder.logical
            found = self._sources.reads.get(os.path.abspath(seen.file), ())
            read = next((r for r in found if r.line == seen.line and r.source == seen.source), None)
            fields: Dict[str, Any] = {
                "source": seen.source,
                "call": read.call if read else seen.call,
                "seen": seen.seen,
            }
            if seen.value:
                fields["value"] = seen.value
            if read is not None and read.use:
                fields.update(use=read.use, used_in=logical(read.used_in), used_at=read.used_at)
                fields["used_code"] = line_of(read.used_in, read.used_at)
            where = {
                "file": logical(seen.file),
                "line": seen.line,
                "function": seen.function,
                "code": line_of(seen.file, seen.line),
            }
            self.recorder.note(
                "outside", "%s reads the %s" % (fields["call"], seen.source), stage="code", **fields, **where
            )


def _value(call: str, source: str, file: str) -> str:
    """The value of a read that only the source shows, if it names a place."""
    if call == "__file__":
        return os.path.dirname(os.path.abspath(file))
    if "os.environ" in call or "os.getenv" in call:
        name = next((name for name in VARIABLES if repr(name) in call), "")
        return os.environ.get(name, "")[:VALUE_CHARS_MAX]
    return os.getcwd() if source == FOLDER else ""


def user_line(recorder: Recorder) -> Dict[str, Any]:
    """The place of the nearest frame of the user's code, with its line of source, for notes of what it called; empty: none."""
    frame = recorder.callers.user_frame(2)
    if frame is None:
        return {}
    return {**recorder.callers.describe(frame), "code": line_of(frame.f_code.co_filename, frame.f_lineno)}
