"""Opens channels to the coordinator, with a certificate or in plain text, and holds the caller's credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
from detctl_proto.addresses import is_loopback, join_address, split_address
from detctl_proto.call_metadata import MACHINE_KEY, bearer
from detctl_proto.security.credentials import TOKEN, CredentialsError, read_folder, read_private
from platformdirs import user_state_path

from detctl_agent.errors import AgentError

CHANNEL_BYTES_MAX = 8 * 1024 * 1024
CANCEL_S = 10.0


def check_address(address: str, *, tls: bool = False) -> str:
    """The gRPC target of `HOST:PORT` or `unix:/path`. Raises AgentError if plain text may not go there."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise AgentError(f"--coordinator {address}: give the socket's absolute path, unix:/run/detctl/socket")
        return f"unix:{path}"
    try:
        host, port = split_address(address)
    except ValueError:
        port = 0
    if not port:
        raise AgentError(f"--coordinator {address}: write HOST:PORT or unix:/path")
    if not tls and not is_loopback(host):
        raise AgentError(
            f"--coordinator {address}: plain text does not leave this host; give --tls DIR, the folder "
            "that `detctl machine add` made for this machine"
        )
    return join_address(host, port)


@dataclass(frozen=True)
class Endpoint:
    """A coordinator, and the credentials for it. targets: gRPC targets of its replicas; tls: the folder with the certificate; None:
    plain text."""

    targets: tuple[str, ...]
    token_file: Path | None = None
    tls: Path | None = None

    def token(self) -> str:
        """The token, read again for each connection because the coordinator may have just made it. Raises AgentError."""
        if self.token_file is not None:
            return read_token(self.token_file)
        if self.tls is not None:
            return read_token(self.tls / TOKEN)
        if all(target.startswith("unix:") for target in self.targets):
            return ""
        # A coordinator of the same user puts it there.
        return read_token(user_state_path("detctl") / TOKEN, may_be_missing=True)


def read_token(path: Path | None, *, may_be_missing: bool = False) -> str:
    """The token in a file, empty without one. Raises AgentError if it cannot be read, or if others may read it."""
    if path is None or (may_be_missing and not path.exists()):
        return ""
    try:
        return read_private(path).decode("ascii").strip()
    except CredentialsError as error:
        raise AgentError(f"token file {error}") from error
    except UnicodeDecodeError as error:
        raise AgentError(f"token file {path}: is not plain text: give the file that the coordinator made") from error


def check_addresses(text: str, *, tls: bool) -> tuple[str, ...]:
    """The targets in `a:1,b:1`, replicas of one coordinator. Raises AgentError."""
    return tuple(check_address(part.strip(), tls=tls) for part in text.split(","))


def metadata(machine: str, token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of each call: the calling machine, and its token if there is one."""
    return ((MACHINE_KEY, machine), *((bearer(token),) if token else ()))


def open_channel(endpoint: Endpoint, target: str) -> grpc.aio.Channel:
    """A channel to one of the targets, with the current certificate, or in plain text without one. Raises AgentError."""
    options = (
        ("grpc.enable_http_proxy", 0),  # gRPC would obey http_proxy even for 127.0.0.1
        ("grpc.max_receive_message_length", CHANNEL_BYTES_MAX),
        ("grpc.max_send_message_length", CHANNEL_BYTES_MAX),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.use_local_subchannel_pool", 1),  # a failed channel leaves no state for the next one
    )
    if endpoint.tls is None or target.startswith("unix:"):
        return grpc.aio.insecure_channel(target, options=options)
    try:
        held = read_folder(endpoint.tls)
    except CredentialsError as error:
        raise AgentError(f"--tls {error}") from error
    credentials = grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)
    return grpc.aio.secure_channel(target, credentials, options=options)


@asynccontextmanager
async def call_status(call: Any) -> AsyncIterator[None]:
    """Wraps writes to a call. Raises AioRpcError with its status if the call has failed, and nothing if it ended without an error."""
    try:
        yield
    except asyncio.InvalidStateError:
        # grpc.aio raises this for a write to a call that has ended, if its status was not read yet.
        await call.read()


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits for their end, with a time limit, so that the agent does not hang in a dead connection."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        done, _ = await asyncio.wait(waiting, timeout=CANCEL_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # read, so that asyncio does not warn about it
