"""A connection to one coordinator: its channel, the token, and the next replica if one does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from detctl_proto.call_metadata import bearer
from detctl_proto.files.regular_file import RegularFileError, read_regular
from detctl_proto.security.credentials import CredentialsError, read_folder
from detctl_proto.v1 import admin_pb2_grpc, audits_pb2, audits_pb2_grpc

from detctl_cli.config import Config, addresses_of
from detctl_cli.errors import CliError
from detctl_cli.service.address import target_of
from detctl_cli.service.problems import from_rpc, unreachable

CONNECT_S = 8.0
CALL_S = 60.0
RETRY_S = 0.5
_TOKEN_BYTES_MAX = 64 * 1024
_TOKEN_HINT = "name the right file with --token-file or DETCTL_TOKEN_FILE"

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # gRPC would use http_proxy even for 127.0.0.1 (docs/adr/0035)
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


def _open_channel(address: str, tls: Path | None) -> grpc.Channel:
    target = target_of(address, tls=tls is not None)
    if tls is None or target.startswith("unix:"):
        return grpc.insecure_channel(target, options=_OPTIONS)
    try:
        held = read_folder(tls)
    except CredentialsError as problem:
        raise CliError(
            "tls", f"--tls {problem}", "create tls.crt, tls.key and ca.crt with detctl token create -o DIR"
        ) from None
    credentials = grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)
    return grpc.secure_channel(target, credentials, options=_OPTIONS)


class Connection:
    """A connection, which the `with` statement closes. Every method raises CliError, and no exception of gRPC."""

    def __init__(self, config: Config) -> None:
        assert config.coordinator is not None
        self._addresses = addresses_of(config.coordinator)
        self._tls = config.tls
        self.address = self._addresses[0]
        self._token_file = config.token_file
        self._metadata = self._read_token()
        self._open()

    def __enter__(self) -> Self:
        try:
            first: CliError | None = None
            for _ in self._addresses:
                if self._reach(CONNECT_S):
                    return self
                first = first or unreachable(self.address, self._why(), tls=self._tls is not None)
                self._use_next_replica()
            assert first is not None
            raise first
        except BaseException:
            self._channel.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            return  # Ctrl-C may have interrupted a call, and close() would wait for that call for ever (seen)
        self._channel.close()

    def _open(self) -> None:
        self._channel = _open_channel(self.address, self._tls)
        self._audits = audits_pb2_grpc.AuditsStub(self._channel)
        self._admin = admin_pb2_grpc.AdminStub(self._channel)

    def _use_next_replica(self) -> None:
        """Switches to the next replica, if there is one."""
        if len(self._addresses) < 2:
            return
        self._channel.close()
        self.address = self._addresses[(self._addresses.index(self.address) + 1) % len(self._addresses)]
        self._open()

    def _call(self, method: Callable[..., Any], request: Any, timeout_s: float = CALL_S) -> Any:
        try:
            return method(request, metadata=self._metadata, timeout=timeout_s)
        except grpc.RpcError as error:
            raise from_rpc(error, self.address, self._token_file) from None

    def _reach(self, timeout_s: float) -> bool:
        """Returns whether the channel is up. It returns when an attempt failed, at the latest after `timeout_s`."""
        settled, up = threading.Event(), threading.Event()

        def changed(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.READY:
                up.set()
            if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
                settled.set()

        self._channel.subscribe(changed, try_to_connect=True)
        try:
            settled.wait(timeout_s)
            if not up.is_set() and timeout_s <= RETRY_S:
                up.wait(timeout_s)  # this is a retry, and the first answer may still be the old failure
            return up.is_set()
        finally:
            self._channel.unsubscribe(changed)

    def _why(self) -> str:
        """Returns the message of gRPC on a connection that cannot be made."""
        try:
            self._audits.ListMachines(audits_pb2.ListRequest(), metadata=self._metadata, timeout=RETRY_S)
        except grpc.RpcError as error:
            return str(error.details() or "")
        return ""

    def _read_token(self) -> tuple[tuple[str, str], ...]:
        if self.address.startswith("unix:"):
            return ()  # the socket's mode protects it (docs/adr/0035)
        try:
            token = read_regular(self._token_file, _TOKEN_BYTES_MAX, follow=True).decode("ascii").strip()
        except RegularFileError as problem:
            if problem.is_missing:
                return ()
            raise CliError("token", f"{self._token_file} cannot be read: {problem.strerror}", _TOKEN_HINT) from None
        except UnicodeDecodeError as problem:
            raise CliError("token", f"{self._token_file} cannot be read: {problem}", _TOKEN_HINT) from None
        if not token or not token.isprintable():
            raise CliError("token", f"{self._token_file} does not contain a token", _TOKEN_HINT)
        return (bearer(token),)
