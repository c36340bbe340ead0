"""Where certificates and tokens lie, and how they are written: 0600 from their first moment on, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from detctl_proto.credentials import BYTES_MAX, CredentialsError, read_private
from detctl_proto.regular_file import read_regular

from detctl_cli.errors import CliError

ADMIN, SERVER, AUTHORITY = "admin", "server", "ca"


def pki_folder(given: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """`--pki`, else $XDG_CONFIG_HOME/detctl/pki."""
    environ = os.environ if environ is None else environ
    if given is not None:
        return given
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "detctl" / "pki"


def write_private(path: Path, content: bytes, *, secret: bool = True) -> None:
    """Raises CliError. secret False: a certificate, which others may read."""
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
        raise CliError("system", f"{path}: cannot be written: {problem.strerror or problem}") from None


def read_own(path: Path) -> bytes:
    """Raises CliError where it is missing; keys also where others may read them."""
    try:
        return read_private(path) if path.suffix == ".key" else read_regular(path, BYTES_MAX, follow=True)
    except CredentialsError as problem:
        raise CliError(
            "system", str(problem), "detctl ca init makes an authority; --pki names another folder"
        ) from None
    except OSError as problem:
        raise CliError(
            "system", f"{path}: {problem.strerror or problem}", "detctl ca init makes an authority"
        ) from None


def refuse_full(folder: Path) -> None:
    """Raises CliError where a folder that is to be made holds something: nothing is overwritten."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError("exists", f"{folder} exists and is not empty", "choose another with -o; nothing was overwritten")
