"""The interpreter of an environment and its packages, asked of that interpreter itself."""

# Paths as text: neither links nor a venv's interpreter may be resolved.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from detctl_proto.outside_json import parse_object

TIMEOUT_S = 60.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
# -I: neither PYTHONPATH nor a user's site-packages nor our probe speak here.
QUESTION = """
import json, platform, sys
try:
    from importlib import metadata
    found = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), one.version)
except ImportError:
    found = {}
print(json.dumps({"version": platform.python_version(), "implementation": platform.python_implementation(),
                  "packages": dict(sorted(found.items())), "path": [p for p in sys.path if p]}))
"""
_answers: dict[str, tuple[tuple[tuple[str, int], ...], dict[str, Any]]] = {}


def python_facts(interpreter: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The section `python` of an absolute path; only `executable` where it does not answer. Kept until its folders change."""
    if not interpreter:
        return {}
    kept = _answers.get(interpreter)
    if kept and kept[0] == _stamps([place for place, _ in kept[0]]):
        return kept[1]
    facts: dict[str, Any] = {"executable": interpreter}
    try:
        answer = subprocess.run(
            [interpreter, "-I", "-c", QUESTION],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=True, cwd="/",
            env={"LANG": "C.UTF-8", **{name: value for name, value in variables.items() if _finds_python(name)}},
        ).stdout  # fmt: skip
        told = parse_object(answer, "its answer", ANSWER_BYTES_MAX, repair=True)
        path = list(map(str, told.pop("path")))
        facts = {"version": told["version"], "implementation": told["implementation"], **facts}
        facts["packages"] = told["packages"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return facts
    _answers[interpreter] = (_stamps([interpreter, *path]), facts)
    return facts


def _finds_python(name: str) -> bool:
    """Whether a wrapper (pyenv's shims) chooses its interpreter by this variable."""
    return name in ("PATH", "HOME") or name.startswith(("PYENV_", "ASDF_", "UV_"))


def _stamps(places: list[str]) -> tuple[tuple[str, int], ...]:
    stamps = []
    for place in places:
        try:
            stamps.append((place, os.stat(place).st_mtime_ns))
        except OSError:
            stamps.append((place, 0))
    return tuple(stamps)
