"""Where the coordinator is: flags over variables over the configuration file.

$XDG_CONFIG_HOME/detctl/config.toml          DETCTL_CONFIG names another file
    coordinator = "127.0.0.1:7450"
    tls = "/home/me/.config/detctl/tls"                   tls.crt, tls.key, ca.crt, token
    token_file = "/home/me/.local/state/detctl/token"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.addresses import DEFAULT_ADDRESS, split_address
from detctl_proto.credentials import TOKEN
from detctl_proto.regular_file import RegularFileError, read_regular

from detctl_cli.errors import CliError

BYTES_MAX = 1024 * 1024

_KEYS = ("coordinator", "tls", "token_file")


@dataclass(frozen=True)
class Config:
    """What the command runs with. coordinator: addresses with commas; None: none is configured;
    `source` says who named it; tls None: plain text."""

    coordinator: str | None
    token_file: Path
    source: str = ""
    tls: Path | None = None


def config_file(environ: Mapping[str, str]) -> Path:
    """The configuration file that these variables lead to, whether it exists or not."""
    if named := environ.get("DETCTL_CONFIG"):
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "detctl" / "config.toml"


def default_token_file(environ: Mapping[str, str]) -> Path:
    """Where a coordinator of this user keeps the token that it made."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "state")
    return Path(base) / "detctl" / "token"


def load_config(
    coordinator: str | None = None,
    token_file: str | None = None,
    tls: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Flags (None: not given) over DETCTL_* over the file. Raises CliError that names file and key."""
    environ = os.environ if environ is None else environ
    path = config_file(environ)
    stored = _read(path, must_exist="DETCTL_CONFIG" in environ)
    choices = (
        (coordinator, "--coordinator"),
        (environ.get("DETCTL_COORDINATOR"), "DETCTL_COORDINATOR"),
        (stored.get("coordinator"), f"coordinator in {path}"),
    )
    address, source = next(((value, name) for value, name in choices if value), (None, ""))
    if address is not None:
        for one in addresses_of(address):
            check_address(one, source)
    folder = tls or environ.get("DETCTL_TLS") or stored.get("tls")
    held = Path(folder).expanduser() if folder else None
    # A certificate and its token belong together: the nearer of the two namings wins.
    token = token_file or (None if tls else environ.get("DETCTL_TOKEN_FILE") or stored.get("token_file"))
    place = Path(token).expanduser() if token else (held / TOKEN if held is not None else default_token_file(environ))
    return Config(address, place, source, held)


def addresses_of(text: str) -> list[str]:
    """`a:1,b:1`: replicas of one coordinator, each as good as the other."""
    return [part.strip() for part in text.split(",") if part.strip()] or [text]


def check_address(address: str, source: str) -> None:
    """Raises CliError unless `address` is HOST:PORT or unix:PATH."""
    if address.startswith("unix:"):
        if not address.removeprefix("unix:").strip("/"):
            raise CliError("configuration", f"{source}: {address!r} names no socket", "write unix:/path/to/socket")
        return
    try:
        _, port = split_address(address)
    except ValueError:
        port = 0
    if not port:
        raise CliError(
            "configuration", f"{source}: {address!r} is no address", f"write HOST:PORT, for example {DEFAULT_ADDRESS}"
        )


def _read(path: Path, *, must_exist: bool) -> dict[str, str]:
    try:
        text = read_regular(path, BYTES_MAX, follow=True).decode("utf-8")
    except RegularFileError as problem:
        if not problem.is_missing:
            raise CliError("configuration", f"{path}: cannot be read: {problem.strerror}") from None
        if must_exist:
            raise CliError("configuration", f"{path}: no such file", "DETCTL_CONFIG names it; unset it") from None
        return {}
    except UnicodeDecodeError as problem:
        raise CliError("configuration", f"{path}: cannot be read: {problem}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise CliError("configuration", f"{path}: not TOML: {problem}") from None
    for key, value in table.items():
        if key not in _KEYS:
            raise CliError("configuration", f"{path}: unknown key {key!r}", f"valid keys: {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value:
            raise CliError("configuration", f"{path}: {key} must be a non-empty string")
    return table
