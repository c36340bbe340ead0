"""Notes where the user's own code reads the clock, folder, host, user or process (notes `outside`), and makes memory without content.

The probe patches the functions that can be patched without notice. A note has file and line, the value if it names a place, and what the
source does with it (value_flow.py). `__file__`, datetime and id() take no patch: their lines come from the source alone. Each line is noted
once. Later calls cost a look-up.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
import time
from types import CodeType, FrameType
from typing import Any, Dict, List, Optional, Set, Tuple

from detctl_probe.observe.host import code
from detctl_probe.observe.outside.unfilled import unfilled
from detctl_probe.observe.outside.value_flow import ADDRESS, CLOCK, FOLDER, HOME, HOST, PROCESS, USER, Read, reads
from detctl_probe.process import callers, commandline
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import Builtin
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

PLACES_MAX = 4096  # call sites that are remembered
SOURCE_BYTES_MAX = 1 << 16
SOURCES_BYTES_MAX = 1 << 18  # of all files together
VALUE_CHARS_MAX = 200
CODE_CHARS_MAX = 160
FRAMES_MAX = 8

# Functions in C: they keep the look of builtins. A value that names the place of the training is noted too.
_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "strftime", "localtime")
_OF_OS = (
    ("getcwd", FOLDER),
    ("getpid", PROCESS),
    ("getppid", PROCESS),
    ("getuid", USER),
    ("uname", HOST),
    ("cpu_count", HOST),
)
# Functions in Python, of modules that the training may import.
_OF_MODULES = (
    ("socket", "gethostname", HOST), ("platform", "node", HOST), ("getpass", "getuser", USER),
    ("posixpath", "expanduser", HOME),
)  # fmt: skip
_HINTS = (
    "__file__",
    "datetime",
    "id(",
    "id)",
    "empty",
    "Tensor(",
    "Timestamp",
    ".seed()",
    "abspath",
    "realpath",
    "key=id",
)
_NO_PATCH = (
    "__file__",
    "datetime.",
    "pandas.",
    "id",
    "timeit.",
    "time.process_time",
    "os.path.abspath",
    "os.path.realpath",
)


def install(recorder: Recorder) -> None:
    """Patches the functions, and reads the sources of the user's modules when the first step begins."""
    _UserReads(recorder)


class _UserReads:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.row = recorder.observer("user_reads", "code")
        # Call sites that need no further look. Code objects are kept, so that no other takes their id.
        self._known: Dict[Tuple[int, int], CodeType] = {}
        self._noted: Set[Tuple[str, int, str]] = set()
        self._sources: Dict[str, List[Read]] = {}
        self._bytes = 0
        for name in _CLOCKS:
            self._patch(time, name, CLOCK)
        for name, source in _OF_OS:
            if hasattr(os, name):
                self._patch(os, name, source)
        for module, name, source in _OF_MODULES:
            when_imported(module, functools.partial(self._patch_module, name=name, source=source))
        recorder.at_step_start(self._read_sources)

    def _patch_module(self, module: Any, *, name: str, source: str) -> None:
        self._patch(module, name, source)

    def _patch(self, module: Any, name: str, source: str) -> None:
        original = getattr(module, name)
        call = "%s.%s" % ("os.path" if module.__name__ == "posixpath" else module.__name__, name)
        known = self._known
        see = self._see

        if isinstance(original, type(len)) or isinstance(original, Builtin):

            def read(*args: Any, **kwargs: Any) -> Any:
                value = original(*args, **kwargs)
                frame = sys._getframe(2)  # beyond Builtin.__call__
                if (id(frame.f_code), frame.f_lasti) not in known:
                    see(frame, call, source, args, value)
                return value

            setattr(module, name, Builtin(original, read, module.__name__, name))
            return

        @functools.wraps(original)
        def python_read(*args: Any, **kwargs: Any) -> Any:
            value = original(*args, **kwargs)
            frame = sys._getframe(1)
            if (id(frame.f_code), frame.f_lasti) not in known:
                see(frame, call, source, args, value)
            return value

        setattr(module, name, python_read)

    def _see(self, near: FrameType, call: str, source: str, args: Tuple[Any, ...], value: Any) -> None:
        """Looks at the first call from a place."""
        recorder = self.recorder
        if recorder.busy or recorder.sealed:
            return
        try:
            frame = near if source == CLOCK else self._user_frame(near)
            if recorder.callers.kind(near.f_code.co_filename) in (callers.USER, callers.PACKAGE):
                self._remember(near)  # the standard library calls for several users
            if frame is None or recorder.callers.kind(frame.f_code.co_filename) != callers.USER:
                return
            if (
                source == CLOCK
                and call in ("time.strftime", "time.localtime")
                and len(args) > (call == "time.strftime")
            ):
                return
            if source == HOME and not (args and str(args[0]).startswith("~")):
                return
            self._note(frame.f_code.co_filename, frame.f_lineno, call, source, value, frame.f_code.co_name)
        except Exception as error:
            if from_signal(error):
                raise
            recorder.note("observer-failed", "user_reads: %s: %s" % (type(error).__name__, error))

    def _remember(self, frame: FrameType) -> None:
        if len(self._known) < PLACES_MAX:
            self._known[(id(frame.f_code), frame.f_lasti)] = frame.f_code

    def _user_frame(self, frame: Optional[FrameType]) -> Optional[FrameType]:
        """The user's frame that called through the standard library; None if a package called."""
        for _ in range(FRAMES_MAX):
            if frame is None or self.recorder.callers.kind(frame.f_code.co_filename) != callers.STDLIB:
                return frame
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return None
            frame = frame.f_back
        return None

    def _note(self, file: str, line: int, call: str, source: str, value: Any, function: str, seen: bool = True) -> None:
        key = (file, line, source)
        if key in self._noted or len(self._noted) >= PLACES_MAX:
            return
        self._noted.add(key)
        with self.recorder.working("code"):
            self.row.fired += 1
            use = next((r for r in self._reads(file) if r.line == line and r.source == source), None)
            fields: Dict[str, Any] = {"source": source, "call": use.call if use else call, "seen": seen}
            if source not in (CLOCK, ADDRESS) and value is not None:
                fields["value"] = str(getattr(value, "nodename", value))[:VALUE_CHARS_MAX]
            if use is not None and use.use:
                fields.update(use=use.use, used_at=use.used_at, used_in=_line(file, use.used_at))
            text = "%s reads the %s" % (fields["call"], source)
            where = {"file": self.recorder.logical(file), "line": line, "function": function}
            self.recorder.note("outside", text, stage="code", code=_line(file, line), **fields, **where)

    def _reads(self, file: str) -> List[Read]:
        known = self._sources.get(file)
        if known is None:
            text = self._text(file)
            known = self._sources[file] = reads(text) if text else []
        return known

    def _text(self, file: str) -> str:
        try:
            size = os.path.getsize(file)
            if size > SOURCE_BYTES_MAX or self._bytes + size > SOURCES_BYTES_MAX:
                return ""
            self._bytes += size
            with open(file, "rb") as opened:
                return opened.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def _read_sources(self) -> None:
        """Once, when the first step begins: the lines that take no patch."""
        if self.recorder.step or self.recorder.sealed:
            return
        with self.recorder.working("code"):
            for file in self._files():
                text = "".join(linecache.getlines(file)) if os.path.getsize(file) <= SOURCE_BYTES_MAX else ""
                if not any(hint in text for hint in _HINTS):
                    continue
                for read in self._reads(file):
                    if read.call.startswith(_NO_PATCH) and (read.use or read.source == FOLDER):
                        value = os.path.dirname(os.path.abspath(file)) if read.call == "__file__" else None
                        value = os.getcwd() if value is None and read.source == FOLDER else value
                        self._note(file, read.line, read.call, read.source, value, "", seen=False)
                for one in unfilled(text):
                    where = {"file": self.recorder.logical(file), "line": one.line}
                    self.recorder.note(
                        "uninitialised", "%s makes memory without content" % one.call, stage="code", call=one.call,
                        names=list(one.names), filled=one.filled, code=_line(file, one.line), **where,
                    )  # fmt: skip
                self._native_seeds(file, text)

    def _native_seeds(self, file: str, text: str) -> None:
        """`generator.seed()` of torch is native: it takes a seed from the system, and only the source shows it."""
        for number, line in enumerate(text.splitlines(), 1):
            part = line.split("#", 1)[0]
            if ".seed()" in part and not part.lstrip().startswith(("def ", "random.", "torch.", "np.", "numpy.")):
                what = "torch.Generator.seed takes a seed from the system"
                where = {"file": self.recorder.logical(file), "line": number}
                self.recorder.note(
                    "self-seeded", what, stage="rng", call="torch.Generator.seed", code=_line(file, number), **where
                )

    def _files(self) -> List[str]:
        main = code.source(commandline.own())
        found = list(code.modules(self.recorder).values())
        if main is not None:
            found.insert(0, os.path.abspath(main))
        return list(dict.fromkeys(os.path.abspath(path) for path in found))


def _line(file: str, line: int) -> str:
    return linecache.getline(file, line).strip()[:CODE_CHARS_MAX] if line else ""


def user_line(recorder: Recorder) -> Dict[str, Any]:
    """The place of the nearest frame of the user's code, with its line of source, for notes of what it called; empty: none."""
    frame = recorder.callers.user_frame(2)
    if frame is None:
        return {}
    return {**recorder.callers.describe(frame), "code": _line(frame.f_code.co_filename, frame.f_lineno)}
