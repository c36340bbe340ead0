"""Data files that the process holds open or has mapped when a step begins.

h5py, lmdb, pyarrow and memory maps made in C open files by themselves. The probe looks at /proc/self/fd and /proc/self/maps at the start
of the steps LOOKED_AT, and reports each such file once, as a note. A file that was closed before is not seen.
"""

from __future__ import annotations

import os
import posix
import stat
from typing import Iterator, Set

from detctl_probe.process.paths import PRIVATE
from detctl_probe.recording.recorder import WORKER, Recorder

LOOKED_AT = (0, 2)
FILES_MAX = 50  # of one process
DESCRIPTORS_MAX = 4096
_LIBRARIES = (".so", ".py", ".pyc", ".pth", ".gz.mo", ".mo")


def install(recorder: Recorder) -> None:
    """Looks when the first steps begin."""
    known: Set[str] = set()
    looked: Set[int] = set()

    def begun() -> None:
        if recorder.step not in LOOKED_AT or recorder.step in looked or recorder.role == WORKER:
            return
        looked.add(recorder.step)
        with recorder.working("files"):
            for path in held_paths():
                if path not in known and len(known) < FILES_MAX:
                    known.add(path)
                    _report(recorder, path)

    recorder.at_step_start(begun)


def held_paths() -> Iterator[str]:
    """Paths of the files that this process has open for reading, or mapped."""
    for number in posix.listdir("/proc/self/fd")[:DESCRIPTORS_MAX]:
        try:
            path = posix.readlink("/proc/self/fd/" + number)
            if path.startswith("/") and not _is_written(number):
                yield path
        except OSError:
            continue
    seen: Set[str] = set()
    descriptor = posix.open("/proc/self/maps", posix.O_RDONLY)
    try:
        text = b""
        while True:
            piece = posix.read(descriptor, 1 << 16)
            if not piece:
                break
            text += piece
    finally:
        posix.close(descriptor)
    for line in text.split(b"\n"):
        at = line.find(b"/")
        path = os.fsdecode(line[at:]) if at > 0 else ""
        if path and path not in seen and ".so" not in path and not path.startswith(("/memfd", "/usr/")):
            seen.add(path)
            yield path


def _is_written(number: str) -> bool:
    """Whether a descriptor is open for writing: what the program writes is not what it reads."""
    descriptor = posix.open("/proc/self/fdinfo/" + number, posix.O_RDONLY)
    try:
        text = posix.read(descriptor, 512).decode("ascii", "replace")
    finally:
        posix.close(descriptor)
    flags = next((line.split()[1] for line in text.split("\n") if line.startswith("flags:")), "0")
    return int(flags, 8) & posix.O_ACCMODE != posix.O_RDONLY


def _report(recorder: Recorder, path: str) -> None:
    if path.endswith(_LIBRARIES):
        return
    found = recorder.places.find(path)
    if found is None or found[0] in PRIVATE or "site-packages" in path:
        return
    try:
        status = os.stat(path)
    except OSError:
        return  # removed since
    if stat.S_ISREG(status.st_mode):
        name = "{%s}/%s" % found
        facts = {"file": name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
        recorder.note("file-held", "%s is open or mapped when a step begins" % name, **facts)
