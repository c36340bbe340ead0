"""Opens a store by its address: `sqlite:FILE`, `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`, `rediss://…`, `unix://SOCKET?db=N`."""

from __future__ import annotations

from pathlib import Path

from detctl_coordinator.storage.address import FORMS, check_redis_address, has_password, redacted
from detctl_coordinator.storage.password_file import read_password
from detctl_coordinator.storage.store import Store, StoreError


def open_store(
    address: str, allow_volatile: bool = False, must_exist: bool = False, password_file: Path | None = None
) -> Store:
    """Returns the store at `address`, after checking that it keeps the data that it acknowledges.

    allow_volatile: accept a Redis that keeps nothing on disk or evicts keys. must_exist: do not create a file. password_file: a file
    with the password of a Redis whose address has none.
    Raises StoreError with one line that names the problem and never shows a password of the address.
    """
    scheme, colon, rest = address.partition(":")
    if not colon or scheme not in ("sqlite", "redis", "rediss", "unix"):
        raise StoreError(f"unknown store address {redacted(address)!r}: use {FORMS}")
    if scheme == "sqlite":
        path = rest[2:] if rest.startswith("//") else rest  # other programs write sqlite:///var/x
        if password_file is not None:
            raise StoreError(
                f"store address {address!r} does not use a password: remove --store-password-file {password_file}"
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
            f"store {redacted(address)} has a password in its address and another in {password_file}: remove it from the address"
        )
    password = read_password(password_file) if password_file is not None else ""
    try:
        from detctl_coordinator.storage.redis.store import RedisStore
    except ImportError as error:
        raise StoreError(
            f"a Redis store needs the package redis ({error}): pip install 'detctl[coordinator]'"
        ) from error
    return RedisStore(address, allow_volatile=allow_volatile, password=password)
