"""Checks to which addresses a token may be sent in plain text."""

from __future__ import annotations

from pathlib import Path

from detctl_proto.addresses import is_loopback, split_address

from detctl_cli.errors import CliError


def target_of(address: str, *, tls: bool = False) -> str:
    """Returns the gRPC target of HOST:PORT or unix:PATH. Raises CliError for plain text to another host, and for a missing socket."""
    if address.startswith("unix:"):
        path = Path("/" + address.removeprefix("unix:").lstrip("/")) if "//" in address else None
        path = path or Path(address.removeprefix("unix:")).absolute()
        if not path.exists():
            raise CliError("unreachable", f"no coordinator listens on {path}", _start_hint(address))
        return f"unix:{path}"
    host, port = split_address(address)
    if not tls and not is_loopback(host):
        raise CliError(
            "plain-text",
            f"{address} is another host, and plain text would show the token to the network",
            f"use --tls DIR or a tunnel: ssh -N -L {port}:127.0.0.1:{port} {host}, then --coordinator 127.0.0.1:{port}",
        )
    return address


def _start_hint(address: str) -> str:
    return f"start one with detctl-coordinator --listen {address}"
