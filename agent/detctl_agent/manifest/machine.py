"""Operating system and processor."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from functools import cache
from pathlib import Path
from typing import Any

from detctl_agent.manifest.system import system_facts

# From the widest to the narrowest: kernels use at most the first one whose flags are all present.
_ISA = (
    ("amx", ("amx_tile", "avx512f")),
    ("avx512_bf16", ("avx512_bf16", "avx512f")),
    ("avx512_vnni", ("avx512_vnni", "avx512f")),
    ("avx512", ("avx512f", "avx512bw", "avx512vl", "avx512dq")),
    ("avx2", ("avx2", "fma")),
    ("avx", ("avx",)),
    ("sse4_2", ("sse4_2",)),
    ("sve", ("sve",)),
    ("asimd", ("asimd",)),
)


def machine_facts(name: str) -> dict[str, Any]:
    """The section `machine` for the agent called `name`."""
    return {"name": name, **_facts()}


@cache
def _facts() -> dict[str, Any]:
    model, flags = cpu()
    system = system_facts()
    return {
        "hostname": socket.gethostname(),
        "os": system["os"],
        "os_version": system["os_version"],
        "kernel": platform.release(),
        "libc": system["libc"],
        "architecture": platform.machine(),
        "cpu_model": model,
        "cpu_flags_digest": hashlib.blake2b(" ".join(sorted(flags)).encode(), digest_size=8).hexdigest(),
        "cpu_isa": next((isa for isa, needed in _ISA if flags.issuperset(needed)), "baseline"),
        "cores": os.cpu_count() or 0,
        "threads_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def cpu() -> tuple[str, frozenset[str]]:
    """(model, flags) of the first processor in /proc/cpuinfo."""
    model, flags = "", frozenset[str]()
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return platform.processor(), flags
    for line in text.splitlines():
        key, _, value = line.partition(":")
        key = key.strip().lower()
        if key in ("model name", "cpu part") and not model:
            model = value.strip()
        elif key in ("flags", "features") and not flags:
            flags = frozenset(value.split())
    return model or platform.processor(), flags
