"""Reads the password of a store from a file, because every user of the host can read command lines."""

from __future__ import annotations

from pathlib import Path

from detctl_proto.security.credentials import CredentialsError, read_private

from detctl_coordinator.storage.store import StoreError


def read_password(path: Path) -> str:
    """Returns the file's only line. Raises StoreError if others may read the file, or if it does not hold a password."""
    try:
        text = read_private(path).decode("utf-8").rstrip("\r\n")
    except CredentialsError as error:
        raise StoreError(f"password file {error}") from None
    except UnicodeDecodeError:
        raise StoreError(f"password file {path} is not UTF-8 text") from None
    if not text or not text.isprintable():
        raise StoreError(f"password file {path} must hold one line with only the password")
    return text
