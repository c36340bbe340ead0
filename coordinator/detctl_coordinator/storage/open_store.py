"""From an address to a store: `sqlite:FILE`, `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`, `rediss://…`, `unix://SOCKET?db=N`."""

from __future__ import annotations

from pathlib import Path

from detctl_coordinator.storage.address import FORMS, check_redis_address, has_password, redacted
from detctl_coordinator.storage.password_file import read_password
from detctl_coordinator.storage.store import Store, StoreError


def open_store(
    address: str, allow_volatile: bool = False, must_exist: bool = False, password_file: Path | None = None
) -> Store:
    """Opens the store at `address` and makes sure that it can hold what it acknowledges.

    allow_volatile: take a Redis that keeps nothing on disk or evicts keys. must_exist: make no new file. password_file: holds the
    password of a Redis whose address has none.
    Raises StoreError with one line that names what is wrong;
    a password in the address never shows in it.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or scheme not in ("sqlite", "redis", "rediss", "unix"):
        raise StoreError(f"unknown store address {redacted(address)!r}: use {FORMS}")
    if scheme == "sqlite":
        path = rest[2:] if rest.startswith("//") else rest  # sqlite:///var/x is a habit from elsewhere
        if password_file is not None:
            raise StoreError(
                f"store address {address!r} takes no password: leave out the password file {password_file}"
            )
        if not path or path.endswith("/"):
            raise StoreError(f"store address {address!r} names no file: use sqlite:FILE")
        if must_exist and not Path(path).is_file():
            raise StoreError(f"{path} does not exist: name the file of a store")
        from detctl_coordinator.storage.sqlite.store import SqliteStore

        return SqliteStore(path)
    check_redis_address(address)
    if password_file is not None and has_password(address):
        raise StoreError(
            f"store {redacted(address)} has a password in its address and one in {password_file}: take it out of the address"
        )
    password = read_password(password_file) if password_file is not None else ""
    try:
        from detctl_coordinator.storage.redis.store import RedisStore
    except ImportError as error:
        raise StoreError(
            f"a Redis store needs the package redis ({error}): pip install 'detctl[coordinator]'"
        ) from error
    return RedisStore(address, allow_volatile=allow_volatile, password=password)
