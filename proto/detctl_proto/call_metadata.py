"""What a call carries in its gRPC metadata: the token of the caller and the machine that it runs on. Standard library alone."""

from __future__ import annotations

MACHINE_KEY = "detctl-machine"
TOKEN_KEY = "authorization"
_SCHEME = "Bearer"


def bearer(token: str) -> tuple[str, str]:
    """The metadata entry that carries the token."""
    return TOKEN_KEY, f"{_SCHEME} {token}"


def token_in(value: str) -> str:
    """The token in the value of such an entry, empty if it holds none."""
    scheme, _, token = value.partition(" ")
    return token if scheme == _SCHEME else ""
