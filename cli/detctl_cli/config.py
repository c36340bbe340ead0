"""Where the coordinator is. Options take precedence over environment variables, and these over the configuration file.

$XDG_CONFIG_HOME/detctl/config.toml          DETCTL_CONFIG names another file.
    coordinator = "127.0.0.1:7450"
    tls = "/home/me/.config/detctl/tls"                   tls.crt, tls.key, ca.crt, token
    token_file = "/home/me/.local/state/detctl/token"
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.addresses import DEFAULT_ADDRESS, split_address
from detctl_proto.files.regular_file import RegularFileError, read_regular
from detctl_proto.security.credentials import TOKEN

from detctl_cli.errors import CliError

BYTES_MAX = 1024 * 1024

_KEYS = ("coordinator", "tls", "token_file")


@dataclass(frozen=True)
class Config:
    """The coordinator that a command uses.

    coordinator: its address, or those of its replicas with commas between them; None if no coordinator is configured.
    source: the option, variable or file that names it. tls: folder of the certificate; None means plain text.
    """

    coordinator: str | None
    token_file: Path
    source: str = ""
    tls: Path | None = None


def user_folder() -> Path:
    """The folder of this user's configuration: $XDG_CONFIG_HOME/detctl, else ~/.config/detctl."""
    from platformdirs import user_config_path  # imported when it is needed: `detctl --version` starts without it

    return user_config_path("detctl")


def default_token_file() -> Path:
    """The file in which a coordinator of this user keeps the token that it made."""
    from platformdirs import user_state_path

    return user_state_path("detctl") / TOKEN


def load_config(coordinator: str | None = None, token_file: str | None = None, tls: str | None = None) -> Config:
    """Returns the configuration from options (None: not given), DETCTL_* and the file. Raises CliError, which names file and key."""
    named = os.environ.get("DETCTL_CONFIG")
    path = Path(named).expanduser() if named else user_folder() / "config.toml"
    stored = _read(path, must_exist="DETCTL_CONFIG" in os.environ)
    choices = (
        (coordinator, "--coordinator"),
        (os.environ.get("DETCTL_COORDINATOR"), "DETCTL_COORDINATOR"),
        (stored.get("coordinator"), f"coordinator in {path}"),
    )
    address, source = next(((value, name) for value, name in choices if value), (None, ""))
    if address is not None:
        for one in addresses_of(address):
            check_address(one, source)
    folder = tls or os.environ.get("DETCTL_TLS") or stored.get("tls")
    held = Path(folder).expanduser() if folder else None
    # A certificate and its token belong together: --tls takes precedence over a token file from a variable or the file.
    token = token_file or (None if tls else os.environ.get("DETCTL_TOKEN_FILE") or stored.get("token_file"))
    place = Path(token).expanduser() if token else (held / TOKEN if held is not None else default_token_file())
    return Config(address, place, source, held)


def addresses_of(text: str) -> list[str]:
    """Returns the addresses in `a:1,b:1`: replicas of one coordinator, any of which can answer."""
    return [part.strip() for part in text.split(",") if part.strip()] or [text]


def check_address(address: str, source: str) -> None:
    """Raises CliError unless `address` is HOST:PORT or unix:PATH."""
    if address.startswith("unix:"):
        if not address.removeprefix("unix:").strip("/"):
            raise CliError(
                "configuration", f"{source}: {address!r} does not name a socket", "write unix:/path/to/socket"
            )
        return
    try:
        _, port = split_address(address)
    except ValueError:
        port = 0
    if not port:
        raise CliError(
            "configuration",
            f"{source}: {address!r} is not an address",
            f"write HOST:PORT, for example {DEFAULT_ADDRESS}",
        )


def _read(path: Path, *, must_exist: bool) -> dict[str, str]:
    try:
        text = read_regular(path, BYTES_MAX, follow=True).decode("utf-8")
    except RegularFileError as problem:
        if not problem.is_missing:
            raise CliError("configuration", f"{path}: cannot be read: {problem.strerror}") from None
        if must_exist:
            raise CliError(
                "configuration", f"{path}: no such file", "correct or unset DETCTL_CONFIG, which names it"
            ) from None
        return {}
    except UnicodeDecodeError as problem:
        raise CliError("configuration", f"{path}: cannot be read: {problem}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise CliError("configuration", f"{path}: the file is not valid TOML: {problem}") from None
    for key, value in table.items():
        if key not in _KEYS:
            raise CliError("configuration", f"{path}: unknown key {key!r}", f"valid keys: {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value:
            raise CliError("configuration", f"{path}: {key} must be a non-empty string")
    return table
