"""The key of a user's recordings: values that a recording does not hold stand in it as digests under this key (docs/adr/0009).

It lies beside the user's other state, never in a recording's folder: `$XDG_STATE_HOME/detctl/recording-key`. Copied to another machine,
it makes recordings of both comparable.
"""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path

from detctl_proto.security.credentials import CredentialsError, read_private
from detctl_proto.security.redaction import KEY_BYTES, RecordingKey
from platformdirs import user_state_path

from detctl_agent.errors import AgentError


def key_path() -> Path:
    return user_state_path("detctl") / "recording-key"


@cache
def recording_key() -> RecordingKey:
    """The user's key, made if there is none. If it cannot be stored, it lives as long as this process, whose own
    recordings can then be compared with each other. Raises AgentError if others can read it, or it is damaged."""
    path = key_path()
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError:
        return RecordingKey(secrets.token_bytes(KEY_BYTES))
    try:
        _make(path)
        return _read(path)
    except OSError:
        return RecordingKey(secrets.token_bytes(KEY_BYTES))


def _read(path: Path) -> RecordingKey:
    path.stat()  # raises OSError: a missing file is not an error
    try:
        text = read_private(path).decode("ascii", "replace").strip()
        secret = bytes.fromhex(text)
    except CredentialsError as error:
        raise AgentError(str(error)) from error
    except ValueError:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise AgentError(f"{path}: is not a recording key: remove it, and detctl makes a new one")
    return RecordingKey(secret)


def _make(path: Path) -> None:
    """Makes the file whole or not at all. If two processes make it at once, the first wins, and both use its key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
    finally:
        aside.unlink(missing_ok=True)
