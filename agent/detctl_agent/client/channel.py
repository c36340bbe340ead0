"""Channels to the coordinator: where plain text may go, and how the caller shows who it is."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc.aio

from detctl_agent.errors import AgentError

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
CANCEL_S = 10.0


def check_address(address: str) -> str:
    """The gRPC target of `HOST:PORT` or `unix:/path`. Raises AgentError where plain text may not go there."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise AgentError(f"--coordinator {address}: give the socket's absolute path, unix:/run/detctl/socket")
        return f"unix:{path}"
    host, separator, port = address.rpartition(":")
    host = host.strip("[]")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise AgentError(f"--coordinator {address}: write HOST:PORT or unix:/path")
    if not _is_loopback(host):
        raise AgentError(
            f"--coordinator {address}: plain text does not leave this host, and this version has no TLS yet; "
            "use a coordinator on 127.0.0.1, a Unix socket, or an SSH tunnel to it"
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def default_token_file(target: str) -> Path | None:
    """Where a coordinator of the same user puts its token, `$XDG_STATE_HOME/detctl/token`; None for a Unix socket."""
    if target.startswith("unix:"):
        return None
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "detctl" / "token"


def read_token(path: Path | None, *, may_be_missing: bool = False) -> str:
    """The token in a file, empty without one. Raises AgentError where it cannot be read or others may read it."""
    if path is None or (may_be_missing and not path.exists()):
        return ""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(f"token file {path}: {getattr(error, 'strerror', None) or 'is no plain text'}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise AgentError(f"token file {path}: others may read it: chmod 600 {path}")
    return text


def metadata(machine: str, token: str) -> tuple[tuple[str, str], ...]:
    """What goes with each call: the machine that calls, and its token where there is one."""
    return (("detctl-machine", machine), *((("authorization", f"Bearer {token}"),) if token else ()))


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel in plain text; TLS takes its place here (issue 4)."""
    return grpc.aio.insecure_channel(
        target,
        options=(
            ("grpc.enable_http_proxy", 0),  # gRPC would obey http_proxy even for 127.0.0.1
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.use_local_subchannel_pool", 1),  # a channel that failed leaves nothing behind for the next
        ),
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits for their end, but not for ever: an agent that hangs in a dead connection never comes back."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        done, _ = await asyncio.wait(waiting, timeout=CANCEL_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain
