"""The interpreter of an environment and its packages, as that interpreter itself reports them."""

# Paths as text: neither links nor a venv's interpreter may be resolved.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from detctl_proto.outside_json import parse_object

from detctl_agent.launcher.account import Account
from detctl_agent.launcher.as_user import run_as

TIMEOUT_S = 60.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
# Run with -I, so that neither PYTHONPATH nor a user's site-packages nor the probe count.
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
_answers: dict[tuple[str, Account | None], tuple[tuple[tuple[str, int], ...], dict[str, Any]]] = {}


def python_facts(interpreter: str, variables: Mapping[str, str], account: Account | None = None) -> dict[str, Any]:
    """The section `python` of an absolute path; only `executable` if it does not answer. Cached until its folders change.

    account: the user to run it as, who may also own it: a user's program must never run as root."""
    if not interpreter:
        return {}
    kept = _answers.get((interpreter, account))
    if kept and kept[0] == _stamps([place for place, _ in kept[0]]):
        return kept[1]
    facts: dict[str, Any] = {"executable": interpreter}
    try:
        question = [interpreter, "-I", "-c", QUESTION]
        env = {"LANG": "C.UTF-8", **{name: value for name, value in variables.items() if _finds_python(name)}}
        if account:
            answer = run_as(account, question, env, TIMEOUT_S).stdout
        else:
            answer = subprocess.run(
                question, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=True, cwd="/", env=env,
                text=True,
            ).stdout  # fmt: skip
        content = parse_object(answer, "its answer", ANSWER_BYTES_MAX, repair=True)
        path = list(map(str, content.pop("path")))
        facts = {"version": content["version"], "implementation": content["implementation"], **facts}
        facts["packages"] = content["packages"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return facts
    _answers[interpreter, account] = (_stamps([interpreter, *path]), facts)
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
