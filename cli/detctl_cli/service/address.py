"""Which addresses may carry a token in plain text."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from detctl_cli.errors import CliError


def target_of(address: str, *, tls: bool = False) -> str:
    """The gRPC target of HOST:PORT or unix:PATH. Raises CliError for a host off loopback or a missing socket."""
    if address.startswith("unix:"):
        path = Path("/" + address.removeprefix("unix:").lstrip("/")) if "//" in address else None
        path = path or Path(address.removeprefix("unix:")).absolute()
        if not path.exists():
            raise CliError("unreachable", f"no coordinator listens on {path}", _start_hint(address))
        return f"unix:{path}"
    host = address.rpartition(":")[0]
    if not tls and not is_loopback(host):
        port = address.rpartition(":")[2]
        raise CliError(
            "plain-text",
            f"{address} is not on this host, and plain text would show the token to the network",
            f"give --tls DIR, or tunnel it: ssh -N -L {port}:127.0.0.1:{port} {host}, then --coordinator 127.0.0.1:{port}",
        )
    return address


def is_loopback(host: str) -> bool:
    """Whether HOST (`localhost`, an IPv4 address, `[::1]`) is this host's loopback; names are not resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _start_hint(address: str) -> str:
    return f"start one: detctl-coordinator --listen {address}"
