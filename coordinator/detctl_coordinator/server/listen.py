"""Parses the address to listen on: `HOST:PORT` or `unix:/path`. Refuses plain text on other interfaces than loopback
(docs/security.md 3)."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.addresses import is_loopback, join_address, split_address
from detctl_proto.limits import SOCKET_PATH_BYTES_MAX


class ListenError(Exception):
    """The address cannot be used. The message is one line for people."""


@dataclass(frozen=True)
class Address:
    """A Unix socket (path) or a TCP port (host, port)."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    def shown(self, port: int) -> str:
        """Returns the address that clients use, with the port that was actually bound."""
        if self.path:
            return f"unix:{self.path}"
        return join_address(self.host, port)


def parse(text: str, *, off_loopback: bool = False, flag: str = "--listen") -> Address:
    """Returns the address. Raises ListenError, which names `flag`, if it is malformed or, without off_loopback, not on loopback."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ListenError(f"{flag} {text}: a Unix socket needs an absolute path, unix:/run/detctl.sock")
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise ListenError(f"{flag} {text}: the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes")
        return Address(path=path)
    try:
        host, port = split_address(text)
    except ValueError:
        raise ListenError(f"{flag} {text}: expected HOST:PORT or unix:/path") from None
    if not off_loopback and not is_loopback(host):
        raise ListenError(
            f"{flag} {text}: other interfaces than loopback need TLS; add --tls DIR (detctl ca init), or use 127.0.0.1 or a Unix socket"
        )
    return Address(host=host, port=port)


def check_free(address: Address) -> None:
    """Raises ListenError if the address is in use; removes a socket file that a dead coordinator left.

    gRPC itself reports only "failed to bind".
    """
    if not address.is_unix:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address.host, address.port))
            except OSError as error:
                raise ListenError(f"cannot listen on {address.host}:{address.port}: {error.strerror}") from error
        return
    path = Path(address.path)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ListenError(f"cannot listen on {path}: folder {path.parent} does not exist") from None
        return
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"cannot listen on {path}: a file with this name exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(address.path)
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ListenError(f"cannot listen on {path}: another coordinator listens there")
