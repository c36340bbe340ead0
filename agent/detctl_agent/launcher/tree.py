"""Descendants of a process, from /proc. Uses only the standard library, because the shim imports it."""

from __future__ import annotations

import os


def stat_of(pid: int) -> tuple[str, int] | None:
    """(state, parent's pid) of a process; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    # The name in brackets may itself contain brackets and blanks: the fields come after the last bracket.
    fields = text[text.rfind(b")") + 2 :].split()
    return fields[0].decode("ascii"), int(fields[1])


def processes() -> dict[int, tuple[str, int]]:
    """pid -> (state, parent's pid) of all visible processes."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            entry = stat_of(int(name))
            if entry is not None:
                found[int(name)] = entry
    return found


def descendants(root: int) -> list[int]:
    """Live descendants of `root` (no zombies), parents before children. Complete if `root` is a subreaper."""
    table = processes()
    children: dict[int, list[int]] = {}
    for pid, (_, parent) in table.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        if table[pid][0] not in ("Z", "X"):
            found.append(pid)
        waiting.extend(children.get(pid, ()))
    return found
