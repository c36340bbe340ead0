"""Stage files: data files opened for reading under declared places, in order; one record an open.

The digest covers the logical name. The content of data shows in stage sample; evidence holds the digests of settings files in the script's
folder. The probe patches builtins.open, io.open and os.open. An audit hook would see more, but it could never be removed, and it would
cost a Python call for every import, id() and _getframe() of the program.
"""

from __future__ import annotations

import builtins
import io
import os
import stat
import threading
from hashlib import blake2b
from typing import Any, Dict, Optional, Set, Tuple

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.observe.host import files_elsewhere, held_files
from detctl_probe.process.callers import USER
from detctl_probe.process.patching import Builtin
from detctl_probe.process.paths import PRIVATE
from detctl_probe.recording.recorder import Recorder

SITE = "main"
_PASSED_ENDS = (".py", ".pyc", ".pyi", ".so", ".pth")
# Files that hold options: what a script reads there is on no command line.
_SETTINGS_ENDS = (".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".conf", ".env")
SETTINGS_BYTES_MAX = 1 << 16
SETTINGS_MAX = 100
KNOWN_MAX = 50_000
ENTROPY = ("/dev/urandom", "/dev/random")
_PASSED_PARTS = ("site-packages", "dist-packages", "__pycache__", ".git")


def install(recorder: Recorder) -> None:
    """Patches the calls. The probe does not see the files of native readers (torchvision.io, decoders written in C)."""
    row = recorder.observer("files", "files")
    settings: Set[Tuple[int, str]] = set()  # by process
    known: Set[Tuple[int, str]] = set()  # by process
    noted: Set[Tuple[str, int]] = set()
    elsewhere = files_elsewhere.Elsewhere(recorder)

    def reads_settings(name: str, status: os.stat_result) -> bool:
        """Whether this process opens a small settings file for the first time."""
        if not (name.startswith("{cwd}/") and name.endswith(_SETTINGS_ENDS)):
            return False
        own = os.getpid(), name
        if own in settings or len(settings) >= SETTINGS_MAX:
            return False
        settings.add(own)
        return stat.S_ISREG(status.st_mode) and status.st_size <= SETTINGS_BYTES_MAX

    def is_first(name: str) -> bool:
        """Whether this process opens a data file for the first time."""
        own = os.getpid(), name
        if own in known or len(known) >= KNOWN_MAX:
            return False
        known.add(own)
        return True

    def opened(path: Any, size_of: Any) -> None:
        if recorder.sealed or recorder.busy or isinstance(path, int):
            return
        try:
            with recorder.working("files"):
                name = data_name(recorder, path)
                if name is None:
                    if os.fsdecode(path) in ENTROPY:
                        note_entropy(recorder, os.fsdecode(path), noted)
                    elsewhere.opened(os.fsdecode(path), size_of)
                    return
                row.fired += 1
                status = os.fstat(size_of)
                evidence: Dict[str, Any] = {"file": name, "bytes": status.st_size}
                if is_first(name):
                    evidence["mtime_ns"] = (
                        status.st_mtime_ns
                    )  # shows the agent after the run whether the file is the same
                if reads_settings(name, status):
                    evidence["content"] = content(path)
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
    recorder.unobserved("files", "native readers", "the probe does not see files that code in C opens directly")
    held_files.install(recorder)


def data_name(recorder: Recorder, path: Any) -> Optional[str]:
    """`{data}/a.png` for a data file under a declared place; None for code, private places and everything else."""
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


def note_entropy(recorder: Recorder, device: str, noted: Set[Tuple[str, int]]) -> None:
    """Notes, once for each line, that the user's own code opens the system's entropy."""
    frame = recorder.callers.nearest(skip_stdlib=True)
    if frame is None or recorder.callers.kind(frame.f_code.co_filename) != USER:
        return
    at = frame.f_code.co_filename, frame.f_lineno
    if at not in noted:
        noted.add(at)
        text = "%s gives another value in every run" % device
        recorder.note("identity", text, stage="rng", call=device, **recorder.callers.describe(frame))


def content(path: Any) -> str:
    """The digest of a small file, read through a separate descriptor: the program's position in the file does not change."""
    with open(path, "rb") as file:
        return blake2b(file.read(), digest_size=8).hexdigest()


def fingerprint(name: str) -> Fingerprint:
    return Fingerprint(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest(), "py:path")
