"""The section `opened` of a manifest: the data files that the training opened, with a digest of the content of each.

    {"files": {"{data}/a.npz": {"bytes": 812, "digest": "…"}},     BLAKE2b of the whole file, 16 bytes, hexadecimal. "listed": true:
                                                                   its folder was listed, but the probe did not see it opened;
                                                                   "named": {"file", "line"}: the source (or, if empty, the command)
                                                                   names it, but the probe did not see it opened
     "paths": {"data": "/data/digits"},                            where the places are on this machine
     "unmeasured": {"changed": 1, "bytes": 0, "time": 0, "count": 0, "unreadable": 0}}   number of files without a digest, by reason

The agent reads the files after the run, so this costs the training nothing. A file that has another size or time of change than when
the training opened it is not measured: the run, or somebody else, has written it since. Digests are kept in a table in the
agent's state by device, inode, size and time of change, so that the twins of an audit read each file once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

from detctl_proto.files.regular_file import RegularFileError, open_regular

from detctl_agent.recording.observed import Observed, OpenedFile
from detctl_agent.runs.inspection.digest_table import DigestTable, FileState
from detctl_agent.runs.inspection.named_files import NamedFile

FILES_MAX = 3000  # of one manifest; about 400 KiB of JSON
BYTES_MAX = 4 * 1024**3  # that one run reads
TIME_MAX_S = 10.0
PIECE_BYTES = 1024 * 1024
OWN_FOLDERS = ("{cwd}",)  # it holds much that is not data
CODE = (".py", ".pyc")
REASONS = ("changed", "unreadable", "bytes", "time", "count")
NONE_NAMED: Mapping[str, NamedFile] = MappingProxyType({})
Resolve = Callable[[str], Path | None]


def opened_section(
    observed: Observed,
    resolve: Resolve,
    places: Mapping[str, str],
    table: DigestTable,
    *,
    started_ns: int = 0,
    clock: Callable[[], float] = time.monotonic,
    may_read: Callable[[os.stat_result], bool] = lambda _: True,
    named: Mapping[str, NamedFile] = NONE_NAMED,
    elsewhere: bool = False,
) -> dict[str, Any]:
    """Returns the section; empty if the training opened no data file. resolve: logical name -> where the file is now.
    may_read: whether the user of the training may read a file of this owner and mode. started_ns: when the training started; 0: unknown,
    and listed folders are not read. named: files that the source or the command names; they are left out if they are not measured.
    elsewhere: whether files outside of the declared places may be read; without them, and if the run has changed them, they are left out.
    """
    listed = _listed(observed, resolve, started_ns)
    named = {name: one for name, one in named.items() if name not in observed.files and name not in listed}
    if not (observed.files or listed or named):
        return {}
    end, left = clock() + TIME_MAX_S, BYTES_MAX
    opened_files = [
        (name, file)
        for name, file in observed.files.items()
        if not file.path or (elsewhere and started_ns and file.mtime_ns < started_ns)
    ]
    known = [*opened_files, *listed.items()]
    unmeasured = dict.fromkeys(REASONS, 0)
    unmeasured["count"] = observed.left_out + max(0, len(known) - FILES_MAX)
    files: dict[str, Any] = {}
    for name, opened in [*known[:FILES_MAX], *((name, one.file) for name, one in named.items())]:
        files[name] = {"bytes": opened.bytes, **({"listed": True} if name in listed else {})}
        path = Path(opened.path) if opened.path else resolve(name)
        state = _state(path, opened, may_read) if path is not None else "unreadable"
        if isinstance(state, str) or path is None:
            unmeasured[str(state)] += name not in named
            continue
        digest = table.get(state)
        if digest is None:
            why = "bytes" if opened.bytes > left else "time" if clock() >= end else ""
            if not why:
                left -= opened.bytes
                digest, why = _digest(path, state, lambda: clock() < end)
            if digest is None:
                unmeasured[why] += name not in named
                continue
            table.add(state, digest)
        files[name]["digest"] = digest
    table.write()
    for name, one in named.items():
        if "digest" in files[name]:
            files[name]["named"] = dict(one.named)
        else:
            del files[name]
    used = {name.partition("}")[0].removeprefix("{") for name in files}
    shown = {name: str(path) for name, path in places.items() if name in used}
    return {"files": files, "paths": shown, "unmeasured": {why: count for why, count in unmeasured.items() if count}}


def _listed(observed: Observed, resolve: Resolve, started_ns: int) -> dict[str, OpenedFile]:
    """Returns the files of the folders that the training listed and in which the probe saw it open none: code in C may have read them.
    What was changed after the training started is left out."""
    found: dict[str, OpenedFile] = {}
    for folder in observed.folders if started_ns else ():
        prefix = folder.rstrip("/") + "/"
        path = resolve(folder)
        if path is None or folder in OWN_FOLDERS or any(name.startswith(prefix) for name in observed.files):
            continue
        try:
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda one: one.name)[:FILES_MAX]:
                    status = entry.stat()
                    if entry.is_file() and status.st_mtime_ns < started_ns and not entry.name.endswith(CODE):
                        found[prefix + entry.name] = OpenedFile(status.st_size, status.st_mtime_ns)
        except OSError:
            continue
    return found


def _state(path: Path, opened: OpenedFile, may_read: Callable[[os.stat_result], bool]) -> FileState | str:
    """Returns what identifies the file's content now, or why it is not measured. What a run writes in its private view does not lie
    at this path, so it counts as changed."""
    try:
        found = path.stat()
    except OSError:
        return "changed"
    if (found.st_size, found.st_mtime_ns) != (opened.bytes, opened.mtime_ns):
        return "changed"
    if not may_read(found):
        return "unreadable"
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _digest(path: Path, state: FileState, in_time: Callable[[], bool]) -> tuple[str | None, str]:
    """Returns the digest of a file, or why there is none: it takes too long, or it changes while it is read."""
    digest = blake2b(digest_size=16)
    try:
        with open_regular(path, None, follow=True) as stream:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
                if not in_time():
                    return None, "time"
            found = os.fstat(stream.fileno())
    except (RegularFileError, OSError):
        return None, "unreadable"
    now = FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return (digest.hexdigest(), "") if now == state else (None, "changed")
