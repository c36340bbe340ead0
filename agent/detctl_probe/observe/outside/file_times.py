"""Notes where the user's own code reads the times of files (notes `file-times`), with the order that the times give the files.

Copies and checkouts give files other times, so an order by time is another one there. A read counts if its line, or else its file, names a
time of the status (`st_mtime`, `getmtime`).
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from hashlib import blake2b
from types import CodeType, FrameType
from typing import Any, Dict, List, Optional, Tuple

from detctl_probe.observe.host.listing_calls import listings
from detctl_probe.observe.outside.sources import line_of
from detctl_probe.process import callers
from detctl_probe.process.patching import Builtin
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import Recorder

FILES_MAX = 20_000
PLACES_MAX = 100
FRAMES_MAX = 12
ENTRIES_LINES_MAX = 6
_TIMES = re.compile(r"\bst_[mcab]\w*time\w*|\bget[mca]time\b")
_ENTRY_TIMES = re.compile(r"\.stat\([^)]*\)\.st_[mcab]\w*time")
_OTHER_QUESTIONS = (
    "exists",
    "lexists",
    "isfile",
    "isdir",
    "islink",
    "is_file",
    "is_dir",
    "is_symlink",
    "getsize",
    "samefile",
    "ismount",
)


def install(recorder: Recorder) -> None:
    """Patches os.stat, which os.path.getmtime and pathlib use. DirEntry.stat is native; only its line can be seen."""
    _FileTimes(recorder)


class _Place:
    """A line that reads times: (name, time) of each file, and where it is."""

    def __init__(self, where: Dict[str, Any]) -> None:
        self.where = where
        self.times: Dict[str, int] = {}


class _FileTimes:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.row = recorder.observer("file_times", "files")
        self._reads: Dict[Tuple[int, int], Tuple[CodeType, Optional[_Place]]] = {}
        self._stat = os.stat
        os.stat = Builtin(self._stat, self._patched, "os", "stat")
        self._follow_listings()
        recorder.at_step_start(self._send)

    def _patched(self, *args: Any, **kwargs: Any) -> os.stat_result:
        status = self._stat(*args, **kwargs)
        recorder = self.recorder
        if not recorder.busy and not recorder.sealed and recorder.step == 0:
            try:
                self._look(sys._getframe(2), args, status)
            except Exception as error:
                if from_signal(error):
                    raise
        return status

    def _look(self, frame: Optional[FrameType], args: Tuple[Any, ...], status: os.stat_result) -> None:
        for _ in range(FRAMES_MAX):
            if frame is None:
                return
            code = frame.f_code
            if code.co_filename.startswith("<frozen importlib") or code.co_name in _OTHER_QUESTIONS:
                return
            if self.recorder.callers.kind(code.co_filename) != callers.STDLIB:
                break
            frame = frame.f_back
        if frame is None or self.recorder.callers.kind(frame.f_code.co_filename) != callers.USER:
            return
        key = id(frame.f_code), frame.f_lasti
        known = self._reads.get(key)
        if known is None:
            if len(self._reads) >= PLACES_MAX:
                return
            known = self._reads[key] = frame.f_code, self._place(frame)
        place = known[1]
        if place is not None and args and not isinstance(args[0], int) and len(place.times) < FILES_MAX:
            place.times[os.fsdecode(args[0])] = status.st_mtime_ns

    def _follow_listings(self) -> None:
        """DirEntry.stat is native. A listing by os.scandir whose caller's file reads times stands for it: the times are read again."""
        calls = listings(self.recorder)
        inner = calls._seen

        def listed(folder: str, names: List[str], call: str, whole: bool, frame: Optional[FrameType]) -> None:
            if inner is not None:
                inner(folder, names, call, whole, frame)
            if frame is not None and call == "os.scandir" and self.recorder.step == 0 and len(self._reads) < PLACES_MAX:
                self._entries(folder, names, frame)

        calls.on_listing(listed)

    def _entries(self, folder: str, names: List[str], frame: FrameType) -> None:
        file = frame.f_code.co_filename
        near = range(
            frame.f_lineno, max(0, frame.f_lineno - ENTRIES_LINES_MAX), -1
        )  # a listing is reported when it is used up
        line = _line_of_times(frame) if any("scandir" in linecache.getline(file, n) for n in near) else 0
        if not line:
            return
        where = {**self.recorder.callers.describe(frame), "line": line, "code": line_of(file, line)}
        place = self._reads.setdefault((id(frame.f_code), -1), (frame.f_code, _Place(where)))[1]
        for name in names[:FILES_MAX]:
            path = os.path.join(folder, name)
            try:
                status = self._stat(path, follow_symlinks=False)
            except OSError:
                continue  # it is gone
            if place is not None:
                place.times[path] = status.st_mtime_ns

    def _place(self, frame: FrameType) -> Optional[_Place]:
        with self.recorder.working("files"):
            file = frame.f_code.co_filename
            if not _TIMES.search(linecache.getline(file, frame.f_lineno)):
                if not any(_TIMES.search(line) for line in linecache.getlines(file)):
                    return None
            where = dict(self.recorder.callers.describe(frame))
            where["code"] = line_of(file, frame.f_lineno)
            return _Place(where)

    def _send(self) -> None:
        """Notes what was read before the first step."""
        if self.recorder.step or self.recorder.sealed or not self._reads:
            return
        places = [place for _, place in self._reads.values() if place is not None]
        with self.recorder.working("files"):
            for place in places:
                rows = [(time, self.recorder.logical(name)) for name, time in place.times.items()]
                if len(rows) < 2:
                    continue
                self.row.fired += 1
                fields = {"count": len(rows), "by_time": _digest([name for _, name in sorted(rows)])}
                fields["names"] = _digest(sorted(name for _, name in rows))
                fields["times"] = _digest(["%s %d" % (name, time) for time, name in sorted(rows)])
                fields["ties"] = len(rows) - len({time for time, _ in rows})
                text = "the times of %d files are read" % len(rows)
                self.recorder.note("file-times", text, stage="files", **fields, **place.where)


def _line_of_times(frame: FrameType) -> int:
    """The first line after a listing that reads the times of a DirEntry; 0: there is none."""
    lines = linecache.getlines(frame.f_code.co_filename)
    for number, line in enumerate(lines[frame.f_lineno - 1 :], frame.f_lineno):
        if _ENTRY_TIMES.search(line):
            return number
    return next((number for number, line in enumerate(lines, 1) if _ENTRY_TIMES.search(line)), 0)


def _digest(lines: List[str]) -> str:
    return blake2b("\n".join(lines).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
