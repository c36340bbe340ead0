"""Addresses of a coordinator, `HOST:PORT`, and which of them are on this host. Standard library alone; pure."""

from __future__ import annotations

import ipaddress

DEFAULT_PORT = 7450
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"


def split_address(text: str) -> tuple[str, int]:
    """(host, port) of `gpu1:7450` or `[::1]:7450`, the host without brackets. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, for example {DEFAULT_ADDRESS}")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether plain text to this host stays on it: `localhost` or a loopback address. Names are not resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
