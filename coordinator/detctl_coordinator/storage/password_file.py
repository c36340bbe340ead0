"""The password of a store in a file of its own: what stands in a command line is seen by every user of the host."""

from __future__ import annotations

from pathlib import Path

from detctl_proto.credentials import CredentialsError, read_private

from detctl_coordinator.storage.store import StoreError


def read_password(path: Path) -> str:
    """The file's one line. Raises StoreError where others may read the file, or it holds no password."""
    try:
        text = read_private(path).decode("utf-8").rstrip("\r\n")
    except CredentialsError as error:
        raise StoreError(f"password file {error}") from None
    except UnicodeDecodeError:
        raise StoreError(f"password file {path}: is no UTF-8 text") from None
    if not text or not text.isprintable():
        raise StoreError(f"password file {path}: must hold one line, the password alone")
    return text
