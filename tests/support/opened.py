"""Lets a program and what it starts pass through folders that are closed to other users, such as /root: in mounts of its own alone.

The interpreter of the tests may lie in there, and no user but root could run it.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# $1: how many folders follow; each is covered by an empty one that everybody may enter, into which all that lay in it is mounted again.
_SCRIPT = """
set -e
count=$1; shift
while [ "$count" -gt 0 ]; do
  hold=$(mktemp -d)
  mount --rbind "$1" "$hold"
  mount -t tmpfs -o mode=0755 tmpfs "$1"
  for entry in "$hold"/* "$hold"/.[!.]*; do
    name="$1/${entry##*/}"
    if [ -d "$entry" ]; then mkdir "$name"; elif [ -f "$entry" ]; then : > "$name"; else continue; fi
    mount --rbind "$entry" "$name"
  done
  umount --lazy "$hold"; rmdir "$hold"
  shift; count=$((count - 1))
done
exec "$@"
"""


def why_not() -> str:
    """Empty, or why programs cannot be started like this here."""
    if os.geteuid() != 0:
        return "needs root: only root starts trainings as another user"
    if shutil.which("unshare") is None:
        return "needs unshare (util-linux)"
    tried = subprocess.run([*opened(), "true"], capture_output=True, text=True, check=False)
    return f"mounts of its own are refused here: {tried.stderr.strip()}" if tried.returncode else ""


def opened(*places: Path) -> list[str]:
    """The beginning of a command that lets all users reach the interpreter of the tests, this repository and `places`."""
    wanted = [
        Path(sys.executable),
        Path(os.path.realpath(sys.executable)),
        REPOSITORY,
        *map(Path, filter(None, sys.path)),
    ]
    closed = {
        above for place in (*wanted, *places) for above in place.parents if not above.stat().st_mode & stat.S_IXOTH
    }  # fmt: skip
    in_order = sorted(map(str, closed), key=len)
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh", str(len(in_order)), *in_order]
