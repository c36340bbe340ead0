"""Why a training failed: the words of RunFailure, run.json and the verdict. Standard library alone."""

from __future__ import annotations

from typing import Literal, get_args

# no-training: it ended with exit code 0 before its first step. exit: any other exit code.
FailureKind = Literal[
    "exit",
    "missing-module",
    "no-torch",
    "missing-file",
    "crash",
    "out-of-memory",
    "timeout",
    "no-training",
    "not-started",
]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
TAIL_LINES_MAX = 12
