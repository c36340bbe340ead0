"""Operating system and libc of the process that runs this: the agent, attach.py in a training's container, or `python -c` in an image.

This file runs in images with Python 3.9 or newer, so it uses only the standard library.
"""

from __future__ import annotations

import platform


def system_facts() -> dict[str, str]:
    """`os`, `os_version`, `libc` of the section `machine`."""
    release = {}
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            for line in stream:
                key, _, value = line.strip().partition("=")
                release[key] = value.strip("\"'")
    except OSError:
        pass
    return {
        "os": release.get("ID", platform.system().lower()),
        "os_version": release.get("VERSION_ID", ""),
        "libc": " ".join(part for part in platform.libc_ver() if part),
    }
