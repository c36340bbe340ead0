"""Stage files: data files opened for reading under declared places, in order; one record an open.

The digest is that of the logical name; the content shows in stage sample. Patched are builtins.open, io.open and os.open:
an audit hook would see more, but could never be removed and would cost a Python call for every import, id() and
_getframe() of the program.
"""

from __future__ import annotations

import builtins
import io
import os
import threading
from hashlib import blake2b
from typing import Any, Optional

from detctl_probe.patching import Builtin
from detctl_probe.paths import PRIVATE
from detctl_probe.prints import Print
from detctl_probe.recorder import Recorder

SITE = "main"
_PASSED_ENDS = (".py", ".pyc", ".pyi", ".so", ".pth")
_PASSED_PARTS = ("site-packages", "dist-packages", "__pycache__", ".git")


def install(recorder: Recorder) -> None:
    """Patches the calls; native readers (torchvision.io, decoders written in C) open files unseen."""
    row = recorder.observer("files", "files")

    def opened(path: Any, size_of: Any) -> None:
        if recorder.sealed or recorder.busy or isinstance(path, int):
            return
        try:
            with recorder.working("files"):
                name = data_name(recorder, path)
                if name is None:
                    return
                row.fired += 1
                evidence = {"file": name, "bytes": os.fstat(size_of).st_size}
                recorder.record("files", SITE, fingerprint(name), evidence=evidence)
        except Exception as error:
            recorder.note("observer-failed", "files: %s: %s" % (type(error).__name__, error))

    open_ = builtins.open
    inside = threading.local()  # pathlib of 3.9 opens by os.open inside io.open: one record

    def patched_open(*args: Any, **kwargs: Any) -> Any:
        inside.open = True
        try:
            file = open_(*args, **kwargs)
        finally:
            inside.open = False
        mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
        if "r" in mode and "+" not in mode:
            try:
                descriptor = file.fileno()
            except (OSError, AttributeError):
                return file
            opened(args[0] if args else kwargs.get("file"), descriptor)
        return file

    os_open = os.open

    def patched_os_open(*args: Any, **kwargs: Any) -> int:
        descriptor = os_open(*args, **kwargs)
        flags = args[1] if len(args) > 1 else kwargs.get("flags", 0)
        if getattr(inside, "open", False):
            return descriptor
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY | os.O_CREAT) == 0 and kwargs.get("dir_fd") is None:
            opened(args[0] if args else kwargs.get("path"), descriptor)
        return descriptor

    builtins.open = io.open = Builtin(open_, patched_open, "io", "open")
    os.open = Builtin(os_open, patched_os_open, "os", "open")
    recorder.unobserved("files", "native readers", "code in C that opens files by itself is not seen")


def data_name(recorder: Recorder, path: Any) -> Optional[str]:
    """`{data}/a.png` of a data file under a declared place; None for code, private places and all else."""
    text = os.fsdecode(path)
    if text.endswith(_PASSED_ENDS):
        return None
    found = recorder.places.find(text)
    if found is None:
        return None
    place, below = found
    if place in PRIVATE or any(part in _PASSED_PARTS for part in below.split(os.sep)):
        return None
    return "{%s}/%s" % (place, below)


def fingerprint(name: str) -> Print:
    return Print(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "py:path")
