"""Requests of a process to the kernel about itself. Uses only the standard library, because the shim imports it."""

from __future__ import annotations

import ctypes

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

_LIBC = ctypes.CDLL(None, use_errno=True)  # here, since nothing should be loaded between fork and exec


def prctl(option: int, value: int) -> None:
    """Never raises: an option that the kernel lacks has no effect."""
    _LIBC.prctl(option, value, 0, 0, 0)


def close_proc() -> None:
    """Prevents other processes of this user from tracing this one and from reading its memory, variables and descriptors in /proc.

    Root still can. A program that is executed starts open again, so each one must call this.
    """
    prctl(PR_SET_DUMPABLE, 0)
