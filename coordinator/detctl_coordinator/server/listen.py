"""Parses where the coordinator listens: `HOST:PORT` or `unix:/path`. It refuses plain text off loopback (docs/security.md 3)."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.addresses import is_loopback, join_address, split_address
from detctl_proto.limits import SOCKET_PATH_BYTES_MAX


class ListenError(Exception):
    """The address cannot be used; one line for people."""


@dataclass(frozen=True)
class Address:
    """A Unix socket (`path`) or a TCP port. target: what grpc takes; shown: what clients are given."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    def shown(self, port: int) -> str:
        """The address with the port that was really bound."""
        if self.path:
            return f"unix:{self.path}"
        return join_address(self.host, port)


def parse(text: str, *, off_loopback: bool = False, flag: str = "--listen") -> Address:
    """Raises ListenError, which names `flag`: malformed, or off loopback where that may not be."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ListenError(f"{flag} {text}: a Unix socket needs an absolute path, unix:/run/detctl.sock")
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise ListenError(f"{flag} {text}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes")
        return Address(path=path)
    try:
        host, port = split_address(text)
    except ValueError:
        raise ListenError(f"{flag} {text}: expected HOST:PORT or unix:/path") from None
    if not off_loopback and not is_loopback(host):
        raise ListenError(
            f"{flag} {text}: plain text off loopback is refused; give --tls DIR (detctl ca init), or use 127.0.0.1 or a socket"
        )
    return Address(host=host, port=port)


def probe(address: Address) -> None:
    """Raises ListenError where somebody else has the address; removes a socket file that a dead coordinator left.

    grpc binds with SO_REUSEPORT off and says only "failed to bind"; this says who is in the way.
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
        raise ListenError(f"cannot listen on {path}: there is a file of that name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(address.path)
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ListenError(f"cannot listen on {path}: another coordinator is there")
