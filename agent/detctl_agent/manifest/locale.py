"""Locale and time zone as a training with these variables sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def locale_facts(variables: Mapping[str, str]) -> dict[str, str]:
    """The section `locale`."""
    language = variables.get("LC_ALL") or variables.get("LC_CTYPE") or variables.get("LANG") or "C.UTF-8"
    encoding = language.partition(".")[2] or "UTF-8"  # Python takes UTF-8 for C and POSIX too (PEP 538, 540)
    return {"LANG": language, "preferred_encoding": encoding, "time_zone": variables.get("TZ") or _system_zone()}


def _system_zone() -> str:
    try:
        where = os.path.realpath("/etc/localtime")
        if "/zoneinfo/" in where:
            return where.partition("/zoneinfo/")[2]
        return Path("/etc/timezone").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "UTC"
