"""Runs a command in a private view of a folder: `python -I -S private_view.py PLAN COMMAND…`, where PLAN is JSON.

In its own mount namespace, an overlay covers the folder at the folder's own path. The command sees every file that is there,
and what it writes goes to `scratch`. This needs Linux 5.11. A process that is not root also takes a user namespace, in which it
keeps its user and group. The module runs between the shim and the training, with the standard library alone, and ends in exec.

    {"folder": "/home/me/project",          the folder to cover; file systems mounted below it are covered too
     "scratch": "/var/tmp/…/run.1",         an empty folder that does not lie inside `folder`
     "in_memory": false,                    true: `scratch` becomes a tmpfs first, for a disk that cannot hold an overlay's files
     "shared": ["/home/me/project/.detctl"]} folders below it in which the command writes for real

Without a COMMAND it only checks that a file can be written and removed in the view. It exits with REFUSED and one line on
stderr if the view cannot be made; the command has not started then.
"""

# Paths as text: it runs in each training's place, and pathlib would cost it time.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH109, PTH118

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
import tempfile
from typing import Any

REFUSED = 125
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_ESCAPED = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))  # in /proc/self/mountinfo
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter_namespaces() -> None:
    """Gives this process its own mounts; if it is not root, its own user namespace with its own ids. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 or _LIBC.unshare(_CLONE_NEWNS) != 0:
        _checked(_LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "a user namespace")
        # setgroups must be denied before a process without privileges may map its group.
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:
                stream.write(text)
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)


def cover(folder: str, scratch: str, in_memory: bool, shared: list[str]) -> None:
    """Mounts the overlays. Paths go to the kernel as descriptors: an overlay's options cannot hold every name. Raises OSError."""
    folder = os.path.realpath(folder)
    covered = [folder, *_mounts_below(folder)]
    held = {place: os.open(place, os.O_PATH) for place in [*covered, *map(os.path.realpath, shared)]}
    if in_memory:
        _mount("tmpfs", scratch, "tmpfs", 0, "mode=0700")
    for number, place in enumerate(covered):
        found = os.fstat(held[place])
        if not stat.S_ISDIR(found.st_mode):  # a file that is mounted alone, as container engines do
            _mount(_by_descriptor(held[place]), place, "", _MS_BIND)
            continue
        upper, work = (os.path.join(scratch, f"{name}{number}") for name in ("upper", "work"))
        for made in (upper, work):
            os.mkdir(made, 0o700)
        # The folder shows the mode and the times of its upper side.
        os.chmod(upper, stat.S_IMODE(found.st_mode))
        os.utime(upper, ns=(found.st_atime_ns, found.st_mtime_ns))
        sides = [os.open(made, os.O_PATH) for made in (upper, work)]
        options = f"lowerdir={_by_descriptor(held[place])},upperdir={_by_descriptor(sides[0])}"
        _mount("overlay", place, "overlay", 0, f"{options},workdir={_by_descriptor(sides[1])},userxattr")
        for descriptor in sides:
            os.close(descriptor)
    for place in map(os.path.realpath, shared):
        _mount(_by_descriptor(held[place]), place, "", _MS_BIND | _MS_REC)
    for descriptor in held.values():
        os.close(descriptor)


def check(folder: str) -> None:
    """Writes a file in the folder and removes it. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=".detctl-", dir=folder)
    os.close(descriptor)
    os.rename(name, name + "-renamed")
    os.unlink(name + "-renamed")


def main() -> None:
    """Entry; see the module's text."""
    plan: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    cwd = os.getcwd()
    try:
        enter_namespaces()
        cover(plan["folder"], plan["scratch"], plan["in_memory"], plan["shared"])
        os.chdir(cwd)  # the folder under the overlay is not the one over it
        if not command:
            check(plan["folder"])
            return
    except OSError as error:
        sys.stderr.write(f"detctl: cannot cover {plan['folder']}: {error.filename or ''}: {error.strerror}\n")
        sys.exit(REFUSED)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"detctl: {command[0]}: {error.strerror}\n")
        sys.exit(127)


def _mounts_below(folder: str) -> list[str]:
    found = set()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            place = line.split(" ")[4]
            for code, char in _ESCAPED:
                place = place.replace(code, char)
            if place.startswith(folder.rstrip("/") + "/"):
                found.add(place)
    return sorted(found)  # a parent comes before what is mounted below it


def _by_descriptor(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = [os.fsencode(text) for text in (source, target, kind)]
    result = _LIBC.mount(*texts, ctypes.c_ulong(flags), options.encode())
    _checked(result, f"an overlay on {target}" if kind == "overlay" else f"a mount on {target}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    main()
