"""Reads or creates the token file of a coordinator on loopback TCP. Other users can connect, but cannot read it (docs/adr/0035)."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from detctl_proto.security.credentials import TOKEN, CredentialsError, read_private
from platformdirs import user_state_path

_FORM = re.compile(r"[A-Za-z0-9_-]{16,256}")


class TokenError(Exception):
    """The token file cannot be trusted or read. The message is one line for people."""


def default_path() -> Path:
    """Returns `$XDG_STATE_HOME/detctl/token`, else `~/.local/state/detctl/token`."""
    return user_state_path("detctl") / TOKEN


def read_or_make(path: Path) -> str:
    """Returns the token, after creating the file if it is missing. Raises TokenError if others may read or write the file."""
    for _ in range(2):
        try:
            return _read(path)
        except FileNotFoundError:
            _make(path)
    return _read(path)


def _read(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file():
        raise TokenError(f"token file {path} is not a regular file: remove it, or name another with --token-file")
    # Kubernetes mounts a Secret as symbolic links that root owns. A link of another user could lead anywhere.
    trusted = (0, os.geteuid())
    if path.is_symlink() and path.lstat().st_uid not in trusted:
        raise TokenError(
            f"token file {path} is a symbolic link of another user: remove it, or name another with --token-file"
        )
    if path.stat().st_uid not in trusted:
        raise TokenError(f"token file {path} belongs to another user: remove it, or name another with --token-file")
    try:
        token = read_private(path).decode("ascii", "replace").strip()
    except CredentialsError as error:
        raise TokenError(f"token file {error}, and replace the token if somebody has read it") from error
    if not _FORM.fullmatch(token):
        raise TokenError(
            f"token file {path} does not hold a token (16 to 256 letters, digits, '-' or '_'): delete it to get a new one"
        )
    return token


def _make(path: Path) -> None:
    """Writes a temporary file and links it into place, so that nobody reads half a token and two processes agree on one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass  # another process was faster: use its token
        finally:
            aside.unlink()
    except OSError as error:
        raise TokenError(f"cannot create token file {path}: {error.strerror}") from error
