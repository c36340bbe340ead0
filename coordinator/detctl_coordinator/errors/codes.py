"""Codes of refused calls, and the exception that carries one from where a call is refused to the translator."""

from __future__ import annotations

from enum import Enum, auto


class Code(Enum):
    """Why a call is refused. Each is named after its gRPC status, except CONCURRENT_CHANGE; see catalogue.py."""

    UNAUTHENTICATED = auto()
    PERMISSION_DENIED = auto()
    INVALID_ARGUMENT = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()
    FAILED_PRECONDITION = auto()
    RESOURCE_EXHAUSTED = auto()
    DATA_LOSS = auto()
    CONCURRENT_CHANGE = auto()
    UNAVAILABLE = auto()
    INTERNAL = auto()


class RefusedCallError(Exception):
    """Ends a call with a code. `text` is one line for the caller; `private` goes to the log alone."""

    def __init__(self, code: Code, text: str, private: str = "") -> None:
        super().__init__(text)
        self.code, self.text, self.private = code, text, private
