"""Where both ends of a connection keep what shows who they are: one folder with `tls.crt`, `tls.key`, `ca.crt` and, for callers, `token`.

The names are those of a Kubernetes Secret of type kubernetes.io/tls, so that one can be mounted as it is. Standard library alone.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.regular_file import open_regular, read_up_to

CERTIFICATE, KEY, AUTHORITY, TOKEN = "tls.crt", "tls.key", "ca.crt", "token"
BYTES_MAX = 1024 * 1024


class CredentialsError(Exception):
    """A file is missing, cannot be read or can be read by others; one line for people."""


@dataclass(frozen=True)
class Credentials:
    """PEM texts: own certificate (chain) and key, and the authorities that the other side's certificate must come from."""

    certificate: bytes
    key: bytes
    authority: bytes


def read_folder(folder: Path) -> Credentials:
    """Read anew for each connection, so that files may be replaced at any time. Raises CredentialsError."""
    certificate, _ = _read(folder / CERTIFICATE)
    authority, _ = _read(folder / AUTHORITY)
    return Credentials(certificate, read_private(folder / KEY), authority)


def read_private(path: Path) -> bytes:
    """A file that nobody else may read. Raises CredentialsError.

    A group may where root owns the file: so Kubernetes mounts a Secret for a user that is not root.
    """
    content, status = _read(path)
    mounted = status.st_uid == 0 and os.geteuid() != 0
    if stat.S_IMODE(status.st_mode) & (0o007 if mounted else 0o077):
        raise CredentialsError(f"{path}: others can read it: chmod 600 {path}")
    return content


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Content and status of one and the same file, whatever the path leads to a moment later."""
    try:
        with open_regular(path, BYTES_MAX, follow=True) as file:
            content, status = read_up_to(file, BYTES_MAX, path), os.fstat(file.fileno())
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror or error}") from error
    if not content.strip():
        raise CredentialsError(f"{path}: is empty")
    return content, status
