"""From an address to a store: `sqlite:FILE`, `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`, `rediss://…`, `unix://SOCKET?db=N`."""

from __future__ import annotations

from urllib.parse import urlsplit

from detctl_coordinator.storage.store import Store, StoreError

FORMS = "sqlite:FILE, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix://SOCKET?db=N"


def open_store(address: str, allow_volatile: bool = False) -> Store:
    """Opens the store at `address` and makes sure that it can hold what it acknowledges.

    allow_volatile: take a Redis that keeps nothing on disk or evicts keys. Raises StoreError with one line that names what is wrong;
    a password in the address never shows in it.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or scheme not in ("sqlite", "redis", "rediss", "unix"):
        raise StoreError(f"unknown store address {redacted(address)!r}: use {FORMS}")
    if scheme == "sqlite":
        path = rest[2:] if rest.startswith("//") else rest  # sqlite:///var/x is a habit from elsewhere
        if not path or path.endswith("/"):
            raise StoreError(f"store address {address!r} names no file: use sqlite:FILE")
        from detctl_coordinator.storage.sqlite_store import SqliteStore

        return SqliteStore(path)
    check_redis_address(address)
    try:
        from detctl_coordinator.storage.redis_store import RedisStore
    except ImportError as error:
        raise StoreError(f"a Redis store needs the package redis ({error}): pip install 'detctl[coordinator]'") from error
    return RedisStore(address, allow_volatile=allow_volatile)


def redacted(address: str) -> str:
    """The address less user and password, wherever they stand, and less its query."""
    scheme, colon, rest = address.partition(":")
    if not colon:
        return address
    rest = rest.partition("?")[0]
    _, at, place = rest.rpartition("@")
    return f"{scheme}:{'//' if at else ''}{place}"


def check_redis_address(address: str) -> None:
    """Raises StoreError naming the part of a redis://, rediss:// or unix:// address that is wrong."""
    shown = redacted(address)
    scheme, _, rest = address.partition(":")
    if not rest.startswith("//"):
        raise StoreError(f"store address {shown!r} lacks // after {scheme}: use {FORMS}")
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise StoreError(f"store address {shown!r}: the port must be a number from 1 to 65535") from error
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
        raise StoreError(f"store address {shown!r}: the database after / must be a number, not {database!r}")
