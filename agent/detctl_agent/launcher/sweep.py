"""Finds and ends processes that an earlier agent (or a killed shim) left, by DETCTL_RUN_ID in /proc/*/environ."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

RUN_ID_VARIABLE = "DETCTL_RUN_ID"
_PREFIX = f"{RUN_ID_VARIABLE}=".encode()
PAUSE_S = 0.05


def leftovers(run_keys: Collection[str]) -> dict[int, str]:
    """pid -> run key of this user's processes (root: of all) that carry one of `run_keys` (`<run id>.<attempt>`)."""
    mine = os.getuid()
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mine and entry.stat().st_uid != mine:
                continue
            environ = Path(entry.path, "environ").read_bytes()
            state = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        for item in environ.split(b"\0"):
            if item.startswith(_PREFIX) and state not in (b"Z", b"X"):
                key = item[len(_PREFIX) :].decode("utf-8", "replace")
                if key in run_keys:
                    found[int(entry.name)] = key
    return found


def sweep(run_keys: Collection[str], limit_s: float = 30.0) -> int:
    """Kills them until none is left; returns how many were found. Gives up after `limit_s` (a process in the kernel)."""
    killed: set[int] = set()
    until = time.monotonic() + limit_s
    while run_keys:
        found = leftovers(run_keys)
        if not found or time.monotonic() > until:
            break
        for pid in found:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(PAUSE_S)
    return len(killed)
