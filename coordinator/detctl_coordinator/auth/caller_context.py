"""The caller of the call that is being served: its identity, and what gRPC and the call's metadata report about it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

from detctl_proto.call_metadata import MACHINE_KEY

from detctl_coordinator.domain.identity import LOCAL, Caller

_CALLER: ContextVar[Caller] = ContextVar("caller", default=LOCAL)


def current_caller() -> Caller:
    """Returns who makes the call that is being served; LOCAL on a Unix socket, which only its owner can open."""
    return _CALLER.get()


def set_current_caller(caller: Caller) -> None:
    """Sets the caller of the call that is being served, after the interceptor has identified it."""
    _CALLER.set(caller)


def metadata_value(metadata: Any, key: str) -> str:
    """Returns the first value of a key, or "" if it is missing. metadata: what grpc.aio gives, possibly None."""
    for name, value in metadata or ():
        if name.lower() == key:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ""


def calling_machine(context: Any) -> str:
    """Returns the machine that the caller claims to be; "" for a CLI."""
    return metadata_value(context.invocation_metadata(), MACHINE_KEY)


def peer_of(context: Any) -> str:
    """Returns the caller's address as gRPC formats it (`ipv4:127.0.0.1:5000`, `unix:`)."""
    return unquote(str(context.peer() or ""))
