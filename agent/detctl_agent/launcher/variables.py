"""The variables that a training gets. What may be set from remote and what is a secret: detctl_proto/variable_rules.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from detctl_proto.variable_rules import is_withheld

DEFAULT_PASS = ("CUDA_*", "NVIDIA_*", "LD_LIBRARY_PATH", "SSL_CERT_*")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables less the secret ones."""
    return {name: value for name, value in variables.items() if not is_withheld(name)}


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment less detctl's own variables and secrets: for `-- COMMAND`."""
    return {name: value for name, value in without_secrets(caller).items() if not name.startswith("DETCTL_")}


def taken_over(caller: Mapping[str, str]) -> dict[str, str]:
    """A training's variables where they begin with the caller's own: a PATH in any case, and nothing that it printed is lost."""
    return {"PATH": SYSTEM_PATH, "PYTHONUNBUFFERED": "1", **inherited(caller)}


def passed(agent: Mapping[str, str], patterns: Iterable[str], always: Iterable[str] = DEFAULT_PASS) -> dict[str, str]:
    """What a clean environment takes over from the agent: the patterns of the recipe, and what is `always` taken."""
    allowed = (*always, *patterns)
    return {
        name: value
        for name, value in inherited(agent).items()
        if any(fnmatchcase(name, pattern) for pattern in allowed)
    }


def prepend(variables: dict[str, str], name: str, folder: str) -> None:
    """Puts a folder first in a list of folders; what was there stays behind it."""
    before = variables.get(name)
    variables[name] = f"{folder}:{before}" if before else folder
