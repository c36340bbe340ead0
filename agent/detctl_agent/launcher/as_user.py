"""Becomes a user of this machine, and then runs a command, or reports what that user can reach.

This happens in a separate process: a child that changes its user must be forked, and gRPC's fork handlers crash or hang a child that
is forked from the agent. The process starts without the command's variables, because LD_LIBRARY_PATH would have an effect on root too.

File modes alone do not decide what a user can reach: access lists, network file systems and mount options count too. So the kernel
is asked.

Input on stdin: {"uid": 1, "gid": 1, "groups": [], …} and either "argv" and "env" of the command, or "needed": [["/place", "rx"], …] (r
read, w write, x execute or enter), which prints a JSON list: for each place an empty text, or why the user cannot.
"""

# Paths as text: neither links nor a venv's interpreter may be resolved, and links are followed one by one.
# ruff: noqa: PTH110, PTH115, PTH116, PTH118

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detctl_agent.launcher.account import Account

TIMEOUT_S = 60.0
LINKS_MAX = 40
_MODES = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
_VERBS = {"r": "read", "w": "write to", "x": "run"}


def run_as(
    account: Account, argv: Sequence[str], env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Runs a command as this user, in /, with nothing on stdin. Raises OSError or subprocess.SubprocessError."""
    return _run_this_module(account, {"argv": list(argv), "env": dict(env)}, timeout_s)


def unreachable(account: Account, needed: Sequence[tuple[Path | str, str]]) -> list[str]:
    """For each (place, letters) an empty text if `account` may do that, else why not. Raises AgentError if the agent cannot become it."""
    from detctl_agent.errors import AgentError

    try:
        done = _run_this_module(account, {"needed": [(str(place), letters) for place, letters in needed]}, TIMEOUT_S)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise AgentError(
                f"the agent cannot become user {account.name}: {why} (it needs CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL)"
            )
        found: list[str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise AgentError(f"cannot check what user {account.name} can reach: {error}") from error
    return found


def _run_this_module(
    account: Account, order: Mapping[str, object], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    who = {"uid": account.uid, "gid": account.gid, "groups": account.groups}
    return subprocess.run(
        [sys.executable, "-I", "-S", __file__], input=json.dumps({**who, **order}), env={"LANG": "C.UTF-8"}, cwd="/",
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


def main() -> None:
    """Entry point; the module's text describes input and output."""
    order = json.load(sys.stdin)
    try:
        os.setgroups(order["groups"])
        os.setresgid(order["gid"], order["gid"], order["gid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
        if "argv" in order:
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.execve(order["argv"][0], order["argv"], order["env"])
    except OSError as error:
        sys.exit(error.strerror or str(error))
    print(json.dumps([_why_not(place, letters) for place, letters in order["needed"]]))  # noqa: T201 - the answer


def _why_not(place: str, letters: str) -> str:
    missing = [letter for letter in letters if not os.access(place, _MODES[letter])]
    if not missing:
        return ""
    closed = _closed_folder(place)
    if closed:
        return f"{closed} is closed to this user ({_shown(closed)})"
    if not os.path.exists(place):
        return "it does not exist"
    return f"this user may not {_VERBS[missing[0]]} it ({_shown(place)})"


def _closed_folder(place: str, links: int = 0) -> str:
    """The first folder on the way that this user may not enter; empty if there is none."""
    here = "/"
    for part in place.split("/"):
        there = os.path.join(here, part)
        try:
            found = os.lstat(there)
        except PermissionError:
            return here
        except OSError:
            return ""
        if stat.S_ISLNK(found.st_mode) and links < LINKS_MAX:
            closed = _closed_folder(os.path.join(here, os.readlink(there)), links + 1)
            if closed:
                return closed
        here = there
    return ""


def _shown(place: str) -> str:
    try:
        found = os.stat(place)
    except OSError:
        return "its mode cannot be seen"
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    return f"mode {stat.S_IMODE(found.st_mode):04o}, owner {owner}"


if __name__ == "__main__":
    main()
