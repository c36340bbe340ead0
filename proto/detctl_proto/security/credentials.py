"""Reads the folder with the credentials of one end of a connection: `tls.crt`, `tls.key`, `ca.crt` and, for callers, `token`.

The names are those of a Kubernetes Secret of type kubernetes.io/tls, so that a Secret can be mounted as it is. Standard library alone.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.files.regular_file import open_regular, read_up_to

CERTIFICATE, KEY, AUTHORITY, TOKEN = "tls.crt", "tls.key", "ca.crt", "token"
BYTES_MAX = 1024 * 1024


class CredentialsError(Exception):
    """A file is missing, cannot be read or can be read by others; one line for people."""


@dataclass(frozen=True)
class Credentials:
    """PEM texts: our certificate (chain) and key, and the authorities one of which must have issued the other side's certificate."""

    certificate: bytes
    key: bytes
    authority: bytes


def read_folder(folder: Path) -> Credentials:
    """The credentials in a folder. Callers read it again for each connection, so that files may be replaced. Raises CredentialsError."""
    certificate, _ = _read(folder / CERTIFICATE)
    authority, _ = _read(folder / AUTHORITY)
    return Credentials(certificate, read_private(folder / KEY), authority)


def read_private(path: Path) -> bytes:
    """The content of a file that nobody else may read. Raises CredentialsError.

    A group may read a file that root owns: Kubernetes mounts a Secret in this way for a user other than root.
    """
    content, status = _read(path)
    mounted = status.st_uid == 0 and os.geteuid() != 0
    if stat.S_IMODE(status.st_mode) & (0o007 if mounted else 0o077):
        raise CredentialsError(f"{path}: others can read it: chmod 600 {path}")
    return content


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Content and status of the same file, even if the path is replaced meanwhile."""
    try:
        with open_regular(path, BYTES_MAX, follow=True) as file:
            content, status = read_up_to(file, BYTES_MAX, path), os.fstat(file.fileno())
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror or error}") from error
    if not content.strip():
        raise CredentialsError(f"{path}: is empty")
    return content, status
