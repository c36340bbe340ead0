"""Data files that the user's own code has opened outside of the declared places: in the home folder, beside the working folder.

Such a file has no logical name that two machines share. So the probe reports it as a note instead of a fingerprint, and the agent reads
its content. Its name is what the program gave: `~/.cache/x.npy`, `../data/x.csv`, or an absolute path.
"""

from __future__ import annotations

import os
import stat
import sys
from types import FrameType
from typing import Optional, Set

from detctl_probe.process.callers import USER
from detctl_probe.recording.recorder import Recorder

FILES_MAX = 50  # of one process
FRAMES_MAX = 40
_SYSTEM = ("/usr/", "/etc/", "/proc/", "/sys/", "/dev/", "/lib", "/run/", "/var/lib/", "/opt/")
_PASSED_ENDS = (".py", ".pyc", ".pyi", ".so", ".pth", ".mo", ".pem", ".crt")
_PASSED_PARTS = ("site-packages", "dist-packages", "__pycache__", "/.git/", "/.config/", "/matplotlib/", "/fontconfig/")


class Elsewhere:
    """The files that were reported."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._known: Set[str] = set()

    def opened(self, given: str, descriptor: int) -> None:
        """Reports a file once."""
        path = os.path.abspath(given)
        if path in self._known or len(self._known) >= FILES_MAX or self._recorder.places.find(path) is not None:
            return
        prefixes = (sys.prefix + os.sep, sys.base_prefix + os.sep, *_SYSTEM)
        if path.startswith(prefixes) or path.endswith(_PASSED_ENDS) or any(part in path for part in _PASSED_PARTS):
            return
        if not self._for_the_user():
            return
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            self._known.add(path)
            name = _name(given, path)
            facts = {"file": name, "path": path, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
            self._recorder.note("file-held", "%s is opened" % name, stage="files", **facts)

    def _for_the_user(self) -> bool:
        """Whether the user's own code is behind the call, and no import."""
        frame: Optional[FrameType] = sys._getframe(2)
        for _ in range(FRAMES_MAX):
            if frame is None or frame.f_code.co_filename.startswith("<frozen importlib"):
                return False
            if self._recorder.callers.kind(frame.f_code.co_filename) == USER:
                return True
            frame = frame.f_back
        return False


def _name(given: str, path: str) -> str:
    home = os.path.abspath(os.path.expanduser("~")).rstrip(os.sep) + os.sep
    if not os.path.isabs(given):
        return os.path.normpath(given)
    return "~/" + path[len(home) :] if len(home) > 1 and path.startswith(home) else path
