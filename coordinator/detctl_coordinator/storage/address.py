"""Checks addresses of stores, and hides their passwords in messages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from detctl_coordinator.storage.store import StoreError

FORMS = "sqlite:FILE, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix://SOCKET?db=N"


def redacted(address: str) -> str:
    """Returns the address without its user, password and query."""
    scheme, colon, rest = address.partition(":")
    if not colon:
        return address.rpartition("@")[2]
    head, _, query = rest.partition("?")
    if "@" in query:  # the password contains ? or @, so nobody knows where it ends
        return f"{scheme}://…"
    _, at, place = head.rpartition("@")
    return f"{scheme}:{'//' if at else ''}{place}"


def hidden(text: str) -> str:
    """Returns any text without the passwords in the addresses that it quotes, as far as they can be recognised."""
    return re.sub(r"(password=)[^\s&'\"]*", r"\1…", re.sub(r"//\S*@", "//…@", text))


def has_password(address: str) -> bool:
    """Returns whether the address of a Redis contains a password."""
    scheme, _, rest = address.partition("://")
    if scheme not in ("redis", "rediss", "unix"):
        return False
    user, _, _ = rest.rpartition("@")
    return ":" in user or "password=" in rest.partition("?")[2]


def check_redis_address(address: str) -> None:
    """Raises StoreError, which names the wrong part, if a redis://, rediss:// or unix:// address is invalid."""
    shown = redacted(address)
    scheme, _, rest = address.partition(":")
    if not rest.startswith("//"):
        raise StoreError(f"store address {shown!r} lacks // after {scheme}: use {FORMS}")
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise StoreError(f"store address {shown!r}: the port must be a number from 1 to 65535") from None
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise StoreError(f"store address {shown!r} names no socket: use unix:///run/redis.sock?db=0")
        return
    if not host:
        raise StoreError(f"store address {shown!r} names no host: use {scheme}://HOST:PORT/DB")
    if port == 0:
        raise StoreError(f"store address {shown!r}: the port must be a number from 1 to 65535")
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        shown_value = (
            "" if "@" in database else f", not {database!r}"
        )  # with an @ it is part of a password that contains /
        raise StoreError(f"store address {shown!r}: the database after / must be a number{shown_value}")
