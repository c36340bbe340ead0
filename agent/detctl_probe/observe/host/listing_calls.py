"""The calls that list a folder, patched once for two users: the intervention (changes the order), the observer (sees it afterwards).

All of the stdlib ends in os.listdir and os.scandir (os.walk, glob, pathlib), but some modules keep their own references:
pathlib's accessor in 3.9 and 3.10, glob's in 3.13. These are rebound, now or when the module is imported; `check` proves it.
importlib uses posix.listdir, which stays untouched.
"""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple

from detctl_probe.process.callers import USER
from detctl_probe.process.imports import when_imported
from detctl_probe.process.patching import Builtin, rebind
from detctl_probe.process.paths import PRIVATE
from detctl_probe.recording.recorder import WORKER, Recorder

# These look for modules and packages, in {cwd} too.
_IMPORTERS = ("/importlib/", "/pkgutil.py", "<frozen importlib", "/pkg_resources/", "/importlib_metadata/")

Arrange = Callable[[str, List[str]], Sequence[int]]
Seen = Callable[[str, List[str], str, bool, Optional[FrameType]], None]

_PASSED = ("site-packages", "dist-packages", "__pycache__")
# Users list folders through these; shutil and tempfile list folders for themselves, which is not data.
_HELPERS = (
    "/os.py",
    "<frozen os>",
    "/glob.py",
    "/pathlib.py",
    "/pathlib/_local.py",
    "/pathlib/_abc.py",
    "/pathlib/__init__.py",
)


class Listings:
    """The patched calls and their two users, each of which registers itself."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.arrange: Optional[Arrange] = None
        self._seen: Optional[Seen] = None
        self._local = threading.local()
        self._listdir = os.listdir
        self._scandir = os.scandir

    def arrange_by(self, arrange: Arrange) -> None:
        """arrange(folder, names) returns the positions of the names in the requested order, or None."""
        self.arrange = arrange

    def on_listing(self, seen: Seen) -> None:
        """seen(folder, names, call, whole, frame) is called with each listing as the training gets it."""
        self._seen = seen

    def patch(self) -> None:
        listdir = Builtin(self._listdir, self._patched_listdir, "os", "listdir")
        scandir = Builtin(self._scandir, self._patched_scandir, "os", "scandir")
        os.listdir = listdir
        os.scandir = scandir
        for name in ("pathlib", "pathlib._local", "glob"):
            # A module that is imported later binds the patched calls anyway; rebinding them costs nothing.
            when_imported(name, lambda module: self._rebind(module, listdir, scandir))

    def _rebind(self, module: Any, listdir: Any, scandir: Any) -> None:
        rebind(module, self._listdir, listdir)
        rebind(module, self._scandir, scandir)

    def folder(self, path: Any) -> Optional[str]:
        """The folder's path if its listing belongs to the training, else None."""
        if path is None:
            path = "."
        if isinstance(path, int):
            path = os.readlink("/proc/self/fd/%d" % path)
        text = os.fsdecode(path)
        frame = self.recorder.callers.nearest(skip_files=_HELPERS, depth=2)
        if frame is None or any(part in frame.f_code.co_filename for part in _IMPORTERS):
            return None
        found = self.recorder.places.find(text)
        if found is not None:
            name, below = found
            if name in PRIVATE or any(part in _PASSED for part in below.split(os.sep)):
                return None
            return os.path.abspath(text)
        # Elsewhere a listing counts if the user's own code makes it.
        if self.recorder.callers.kind(frame.f_code.co_filename) != USER:
            return None
        absolute = os.path.abspath(text)
        return None if absolute.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep)) else absolute

    def _relevant(self, path: Any) -> Optional[str]:
        recorder = self.recorder
        if recorder.busy or not (self.arrange or self._seen):
            return None
        sink = getattr(self._local, "sink", None)
        if sink is not None:
            return os.path.abspath(os.fsdecode(path)) if not isinstance(path, int) else None
        if recorder.sealed and recorder.role != WORKER and self.arrange is None:
            return None
        try:
            return self.folder(path)
        except (OSError, TypeError, ValueError):
            return None

    def _patched_listdir(self, *args: Any, **kwargs: Any) -> Any:
        names = self._listdir(*args, **kwargs)
        folder = self._relevant(args[0] if args else kwargs.get("path"))
        if folder is None:
            return names
        texts = [os.fsdecode(name) for name in names]
        order = self._arranged(folder, texts)
        if order is not None:
            names = [names[at] for at in order]
            texts = [texts[at] for at in order]
        self._report(folder, texts, "os.listdir", True)
        return names

    def _patched_scandir(self, *args: Any, **kwargs: Any) -> Any:
        entries = self._scandir(*args, **kwargs)
        folder = self._relevant(args[0] if args else kwargs.get("path"))
        return entries if folder is None else _Scan(self, folder, entries)

    def _arranged(self, folder: str, names: List[str]) -> Optional[Sequence[int]]:
        if self.arrange is None or getattr(self._local, "sink", None) is not None:
            return None
        try:
            return self.arrange(folder, names)
        except Exception as error:
            self.recorder.note("observer-failed", "listing intervention: %s: %s" % (type(error).__name__, error))
            return None

    def _report(self, folder: str, names: List[str], call: str, whole: bool) -> None:
        sink = getattr(self._local, "sink", None)
        if sink is not None:
            sink.append((folder, names))
            return
        if self._seen is None:
            return
        try:
            with self.recorder.working("listing"):
                self._seen(folder, names, call, whole, self.recorder.callers.user_frame(2))
        except Exception as error:
            self.recorder.note("observer-failed", "listing: %s: %s" % (type(error).__name__, error))

    def catch(self, call: Callable[[], Any]) -> List[Tuple[str, List[str]]]:
        """Returns what the patched calls see while `call` runs in this thread, and records none of it."""
        caught: List[Tuple[str, List[str]]] = []
        self._local.sink = caught
        try:
            call()
        finally:
            self._local.sink = None
        return caught


class _Scan:
    """os.scandir's iterator: returns the real entries, and reports them at exhaustion or close."""

    def __init__(self, owner: Listings, folder: str, entries: Any) -> None:
        self._owner = owner
        self._folder = folder
        self._entries = entries
        self._arranged: Optional[Iterator[Any]] = None
        self._names: List[str] = []
        self._reported = False
        self._started = False

    def __iter__(self) -> "_Scan":
        return self

    def __next__(self) -> Any:
        if not self._started:
            self._started = True
            self._arrange()
        try:
            entry = next(self._entries if self._arranged is None else self._arranged)
        except StopIteration:
            self._report(True)
            raise
        self._names.append(os.fsdecode(entry.name))
        return entry

    def __enter__(self) -> "_Scan":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self._entries.close()
        self._arranged = None
        if self._names:
            self._report(False)

    def _arrange(self) -> None:
        if self._owner.arrange is None:
            return
        entries = list(self._entries)
        order = self._owner._arranged(self._folder, [os.fsdecode(entry.name) for entry in entries])
        self._arranged = iter(entries if order is None else [entries[at] for at in order])

    def _report(self, whole: bool) -> None:
        if not self._reported:
            self._reported = True
            self._owner._report(self._folder, self._names, "os.scandir", whole)


_listings: Optional[Listings] = None


def listings(recorder: Recorder) -> Listings:
    """The patched calls of this process; patches them at the first call."""
    global _listings
    if _listings is None:
        _listings = Listings(recorder)
        _listings.patch()
    return _listings
