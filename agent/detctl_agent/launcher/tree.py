"""Descendants of a process, by /proc. Standard library alone: the shim imports it."""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Tuple  # noqa: UP035


def stat_of(pid: int) -> Optional[Tuple[str, int]]:
    """(state, parent's pid) of a process, None where it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    # The name in brackets may hold anything, brackets and blanks too: what counts comes after the last one.
    fields = text[text.rfind(b")") + 2 :].split()
    return fields[0].decode("ascii"), int(fields[1])


def processes() -> Dict[int, Tuple[str, int]]:
    """pid -> (state, parent's pid) of all that are visible."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            entry = stat_of(int(name))
            if entry is not None:
                found[int(name)] = entry
    return found


def descendants(root: int) -> List[int]:
    """Live descendants of `root` (no zombies), parents before children. Complete where `root` is a subreaper."""
    table = processes()
    children: Dict[int, List[int]] = {}
    for pid, (_, parent) in table.items():
        children.setdefault(parent, []).append(pid)
    found: List[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        if table[pid][0] not in ("Z", "X"):
            found.append(pid)
        waiting.extend(children.get(pid, ()))
    return found
