"""The variables that a training gets. Which ones are secrets: detctl_proto/security/variable_rules.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from detctl_proto.security.variable_rules import is_withheld

DEFAULT_PASS = ("CUDA_*", "NVIDIA_*", "LD_LIBRARY_PATH", "SSL_CERT_*")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables without the secret ones."""
    return {name: value for name, value in variables.items() if not is_withheld(name)}


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without detctl's own variables and secrets, for `-- COMMAND`."""
    return {name: value for name, value in without_secrets(caller).items() if not name.startswith("DETCTL_")}


def taken_over(caller: Mapping[str, str]) -> dict[str, str]:
    """The variables of a training that starts from the caller's own. They always have a PATH, and output is never buffered."""
    return {"PATH": SYSTEM_PATH, "PYTHONUNBUFFERED": "1", **inherited(caller)}


def passed(agent: Mapping[str, str], patterns: Iterable[str], always: Iterable[str] = DEFAULT_PASS) -> dict[str, str]:
    """The agent's variables that a clean environment gets: those that match the recipe's patterns, or `always`."""
    allowed = (*always, *patterns)
    return {
        name: value
        for name, value in inherited(agent).items()
        if any(fnmatchcase(name, pattern) for pattern in allowed)
    }


def prepend(variables: dict[str, str], name: str, folder: str) -> None:
    """Puts a folder in front of a list of folders."""
    before = variables.get(name)
    variables[name] = f"{folder}:{before}" if before else folder
