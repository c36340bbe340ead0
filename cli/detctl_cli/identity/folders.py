"""Reads and writes certificates and tokens. They have mode 0600 from the start, and are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from detctl_proto.files.regular_file import read_regular
from detctl_proto.security.credentials import BYTES_MAX, CredentialsError, read_private

from detctl_cli.config import user_folder
from detctl_cli.errors import CliError

ADMIN, SERVER, AUTHORITY = "admin", "server", "ca"


def pki_folder(given: Path | None) -> Path:
    """The folder that --pki names, else `pki` in the user's configuration folder."""
    return user_folder() / "pki" if given is None else given


def write_private(path: Path, content: bytes, *, secret: bool = True) -> None:
    """Writes a file. secret False: a certificate, which others may read. Raises CliError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise CliError("system", f"{path} cannot be written: {problem.strerror or problem}") from None


def read_own(path: Path) -> bytes:
    """Returns the content of a file. Raises CliError if it is missing, or is a key that others may read."""
    try:
        return read_private(path) if path.suffix == ".key" else read_regular(path, BYTES_MAX, follow=True)
    except CredentialsError as problem:
        raise CliError(
            "system", str(problem), "create an authority with detctl ca init, or name its folder with --pki"
        ) from None
    except OSError as problem:
        raise CliError(
            "system", f"{path}: {problem.strerror or problem}", "create an authority with detctl ca init"
        ) from None
