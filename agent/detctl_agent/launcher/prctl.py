"""What a process says of itself to the kernel. Standard library alone: the shim imports it."""

from __future__ import annotations

import ctypes

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

_LIBC = ctypes.CDLL(None, use_errno=True)  # here, since nothing should be loaded between fork and exec


def prctl(option: int, value: int) -> None:
    """Never raises: a kernel that lacks an option goes without."""
    _LIBC.prctl(option, value, 0, 0, 0)


def close_proc() -> None:
    """From now on no other process of this user reads this one's memory, variables or descriptors by /proc, or traces it.

    Root still does. A program that is executed starts open again, so that each must say it for itself.
    """
    prctl(PR_SET_DUMPABLE, 0)
