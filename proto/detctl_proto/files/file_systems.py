"""Finds the file system of a path, and lists those on which SQLite is not safe: coordinator and command line must agree.

SQLite's WAL shares memory between processes by mmap and relies on working locks; file systems that other hosts write too give neither
(https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import re
from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.gvfsd-fuse",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "virtiofs",
    ]
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def mount_table() -> str:
    """The text of /proc/self/mountinfo; empty if it cannot be read."""
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def file_system_of(path: Path, mountinfo: str) -> str:
    """The type of the file system (`ext4`, `tmpfs`, `nfs4` …) that holds the absolute, resolved `path`; empty if unknown.

    mountinfo: the text of /proc/self/mountinfo."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        head, dash, tail = line.partition(" - ")
        fields = head.split()
        if not dash or len(fields) < 5 or not tail.split():
            continue
        # The kernel writes blank, tab, newline and backslash in a mount point as \ooo.
        point = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        depth = len(point.parts)
        if depth >= best and path.is_relative_to(point):  # a later mount hides an earlier one on the same point
            best, found = depth, tail.split()[0]
    return found
