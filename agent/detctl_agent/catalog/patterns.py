"""Matches a value from remote against a pattern of the machine's owner, in a process that may take one second of CPU time.

A pattern such as `(a|a)*$` needs years for some values, and Python's `re` can neither be interrupted nor lets other threads run
meanwhile. So the agent never evaluates the owner's patterns in its own process. It compares lists of values, and its default is safe.
"""

from __future__ import annotations

import re
import subprocess
import sys

from detctl_agent.errors import RunRefusedError

CPU_S = 1
WALL_S = 60.0  # for a machine that is so busy that the process does not get its second
_MATCH, _NO_MATCH = 10, 11  # neither 0 nor 1: exit codes of Python itself must not count as an answer
_PROGRAM = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))
import re
pattern, value = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\\0")
sys.exit({_MATCH} if re.fullmatch(pattern, value, re.ASCII) else {_NO_MATCH})
"""


def matches(pattern: str, value: str) -> bool:
    """Whether the value matches the pattern as a whole. Raises RunRefusedError if that takes more than a second."""
    if "\0" in value:
        return False
    try:
        decided = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=f"{pattern}\0{value}".encode("utf-8", "surrogatepass"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=WALL_S, check=False, env={},
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        decided = -1
    except OSError as error:
        raise RunRefusedError(f"the pattern {pattern} could not be evaluated: {error.strerror or error}") from error
    if decided not in (_MATCH, _NO_MATCH):
        raise RunRefusedError(
            f"the pattern {pattern} cannot be decided within {CPU_S} s for {value[:64]!r}: the machine's owner can write it without nested "
            "repetitions, or as a list of values"
        )
    return decided == _MATCH


def not_regular(pattern: str) -> str:
    """Why the text is not a regular expression; empty if it is one."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return ""
