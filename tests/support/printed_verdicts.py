"""Reads the verdict that a command of detctl printed with --json."""

from __future__ import annotations

import json
from typing import Any


def read(stdout: str, stderr: str) -> dict[str, Any]:
    """The document on stdout, or an outcome `error` with the end of stderr."""
    try:
        found: dict[str, Any] = json.loads(stdout)
    except ValueError:
        found = {}
    return found if "outcome" in found else {"outcome": "error", "unverified_because": [str(found), stderr[-600:]]}
