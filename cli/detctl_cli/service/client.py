"""Calls to one coordinator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from detctl_proto.call_metadata import bearer
from detctl_proto.credentials import CredentialsError, read_folder
from detctl_proto.regular_file import RegularFileError, read_regular
from detctl_proto.v1 import admin_pb2, admin_pb2_grpc, agents_pb2, agents_pb2_grpc, audits_pb2, audits_pb2_grpc

from detctl_cli.config import Config, addresses_of
from detctl_cli.errors import CliError
from detctl_cli.exits import Exit
from detctl_cli.service.address import target_of
from detctl_cli.service.problems import from_rpc, is_gone, unreachable
from detctl_cli.service.silence import SILENCE_S, unless_silent

CONNECT_S = 8.0
CALL_S = 60.0
COMPARE_S = 600.0
_RETRY_S = 0.5
_TOKEN_BYTES_MAX = 64 * 1024

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # gRPC would obey http_proxy even for 127.0.0.1 (docs/adr/0035)
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
            "tls", f"--tls {problem}", "it holds tls.crt, tls.key and ca.crt; detctl token create -o DIR"
        ) from None
    credentials = grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)
    return grpc.secure_channel(target, credentials, options=_OPTIONS)


class Coordinator:
    """A connection, closed by the `with` statement. Every method raises CliError; nothing of gRPC gets out."""

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
                self._next()
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
            return  # Ctrl-C may have struck while a call was begun: close() would wait for that call for ever (seen)
        self._channel.close()

    def plan(self, request: audits_pb2.AuditRequest) -> audits_pb2.AuditPlan:
        """What StartAudit would do; nothing is started."""
        plan: audits_pb2.AuditPlan = self._call(self._audits.PlanAudit, request)
        return plan

    def start(self, request: audits_pb2.AuditRequest) -> audits_pb2.AuditPlan:
        """Starts the audit; the plan carries its id."""
        plan: audits_pb2.AuditPlan = self._call(self._audits.StartAudit, request)
        return plan

    def cancel(self, audit_id: str) -> None:
        """Cancels the audit and its runs."""
        self._call(self._audits.CancelAudit, audits_pb2.AuditRef(audit_id=audit_id), timeout_s=10.0)

    def explain(self, request: audits_pb2.ExplainRequest) -> None:
        """Starts experiments on an audit that has a verdict."""
        self._call(self._audits.ExplainAudit, request, timeout_s=10.0)

    def compare(self, request: audits_pb2.CompareRequest) -> str:
        """The verdict as JSON text."""
        try:
            reply: audits_pb2.VerdictReply = self._audits.Compare(request, metadata=self._metadata, timeout=COMPARE_S)
        except grpc.RpcError as error:
            # These machines share no runs. Nothing was compared, so nothing is known (docs/adr/0022).
            raise from_rpc(error, self.address, self._token_file, no_data=Exit.UNVERIFIED) from None
        return reply.verdict_json

    def create_token(self, request: admin_pb2.TokenRequest) -> admin_pb2.NewToken:
        reply: admin_pb2.NewToken = self._call(self._admin.CreateToken, request)
        return reply

    def rotate_token(self, request: admin_pb2.RotateRequest) -> admin_pb2.NewToken:
        reply: admin_pb2.NewToken = self._call(self._admin.RotateToken, request)
        return reply

    def revoke_token(self, token_id: str) -> admin_pb2.TokenInfo:
        reply: admin_pb2.TokenInfo = self._call(self._admin.RevokeToken, admin_pb2.TokenRef(token_id=token_id))
        return reply

    def tokens(self, name: str = "") -> list[admin_pb2.TokenInfo]:
        return list(self._call(self._admin.ListTokens, admin_pb2.TokenQuery(name=name)).tokens)

    def log(self, request: admin_pb2.LogRequest) -> list[admin_pb2.LogEntry]:
        return list(self._call(self._admin.ReadLog, request).entries)

    def machines(self, request: audits_pb2.ListRequest) -> list[audits_pb2.MachineInfo]:
        return list(self._call(self._audits.ListMachines, request).machines)

    def runs(self, request: audits_pb2.ListRequest) -> list[audits_pb2.RunInfo]:
        return list(self._call(self._audits.ListRuns, request).runs)

    def audits(self, request: audits_pb2.ListRequest) -> list[audits_pb2.AuditInfo]:
        return list(self._call(self._audits.ListAudits, request).audits)

    def show(self, identifier: str) -> audits_pb2.ShowReply:
        reply: audits_pb2.ShowReply = self._call(self._audits.Show, audits_pb2.ShowRequest(id=identifier))
        return reply

    def delete_runs(self, request: audits_pb2.DeleteRequest) -> list[str]:
        """The ids of the runs that are gone now."""
        return list(self._call(self._audits.DeleteRuns, request).run_ids)

    def join(self, request: audits_pb2.JoinRequest) -> audits_pb2.JoinReply:
        reply: audits_pb2.JoinReply = self._call(self._audits.JoinAudit, request)
        return reply

    def import_run(self, request: audits_pb2.ImportRequest) -> audits_pb2.ImportReply:
        """The id under which the folder's segments are to be sent, attempt 1, and the secret to send with them."""
        reply: audits_pb2.ImportReply = self._call(self._audits.ImportRun, request)
        return reply

    def finish_import(self, request: audits_pb2.ImportFinished) -> None:
        self._call(self._audits.FinishImport, request)

    def ingest(self, requests: Iterable[agents_pb2.IngestRequest]) -> Iterator[agents_pb2.IngestReply]:
        """Sends segments and seals; one reply for each, in any order."""
        stub = agents_pb2_grpc.AgentsStub(self._channel)
        try:
            yield from stub.Ingest(iter(requests), metadata=self._metadata, timeout=COMPARE_S)
        except grpc.RpcError as error:
            raise from_rpc(error, self.address, self._token_file) from None

    def watch(
        self, audit_id: str, wait_s: float, gone: Callable[[str], None], back: Callable[[], None]
    ) -> Iterator[audits_pb2.AuditProgress]:
        """Progress up to the message with the verdict, through restarts of the coordinator.

        `gone` and `back` are called once an outage, `gone` with the coordinator's own words where it answered (its store is
        away); after `wait_s` seconds of one CliError is raised.
        """
        since: float | None = None
        while True:
            why = ""
            try:
                for progress in unless_silent(lambda: self._open_watch(audit_id), SILENCE_S):
                    if since is not None:
                        since = None
                        back()
                    yield progress
                    if progress.verdict_json or progress.state == "cancelled":
                        return
            except grpc.RpcError as error:
                if not is_gone(error):
                    raise from_rpc(error, self.address, self._token_file) from None
                problem = from_rpc(error, self.address, self._token_file)
                why = problem.message if problem.code == "unavailable" else ""
            if since is None:
                since = time.monotonic()
                gone(why)
            self._next()
            while not self._reach(_RETRY_S):
                self._next()
                if time.monotonic() - since > wait_s:
                    raise CliError(
                        "unreachable",
                        f"the coordinator at {self.address} has been away for {wait_s:.0f} s; audit {audit_id} goes on without us",
                        f"when it is back: detctl audit --attach {audit_id}",
                    )
            # Reached but the stream ended without a verdict: a replica that is about to go. Not a busy loop.
            threading.Event().wait(0.1)
            if time.monotonic() - since > wait_s:
                if why:
                    raise CliError("unavailable", why, f"when it is back: detctl audit --attach {audit_id}")
                raise unreachable(self.address, f"its progress stream ends at once, for {wait_s:.0f} s")

    def _open(self) -> None:
        self._channel = _open_channel(self.address, self._tls)
        self._audits = audits_pb2_grpc.AuditsStub(self._channel)
        self._admin = admin_pb2_grpc.AdminStub(self._channel)

    def _next(self) -> None:
        """Turns to the next replica; nothing where there is one alone."""
        if len(self._addresses) < 2:
            return
        self._channel.close()
        self.address = self._addresses[(self._addresses.index(self.address) + 1) % len(self._addresses)]
        self._open()

    def _open_watch(self, audit_id: str) -> Any:
        return self._audits.WatchAudit(audits_pb2.AuditRef(audit_id=audit_id), metadata=self._metadata)

    def _call(self, method: Callable[..., Any], request: Any, timeout_s: float = CALL_S) -> Any:
        try:
            return method(request, metadata=self._metadata, timeout=timeout_s)
        except grpc.RpcError as error:
            raise from_rpc(error, self.address, self._token_file) from None

    def _reach(self, timeout_s: float) -> bool:
        """Whether the channel is up; returns as soon as an attempt failed, at the latest after `timeout_s`."""
        settled, up = threading.Event(), threading.Event()

        def changed(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.READY:
                up.set()
            if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
                settled.set()

        self._channel.subscribe(changed, try_to_connect=True)
        try:
            settled.wait(timeout_s)
            if not up.is_set() and timeout_s <= _RETRY_S:
                up.wait(timeout_s)  # a retry: the first answer may still be the old failure
            return up.is_set()
        finally:
            self._channel.unsubscribe(changed)

    def _why(self) -> str:
        """gRPC's words for a connection that does not come about."""
        try:
            self._audits.ListMachines(audits_pb2.ListRequest(), metadata=self._metadata, timeout=_RETRY_S)
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
            raise CliError("token", f"{self._token_file}: cannot be read: {problem.strerror}") from None
        except UnicodeDecodeError as problem:
            raise CliError("token", f"{self._token_file}: cannot be read: {problem}") from None
        if not token or not token.isprintable():
            raise CliError(
                "token", f"{self._token_file}: holds no token", "let the coordinator make it, or copy its own"
            )
        return (bearer(token),)
