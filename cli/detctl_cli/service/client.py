"""Calls to one coordinator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from detctl_proto.v1 import admin_pb2, agents_pb2, agents_pb2_grpc, audits_pb2

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit
from detctl_cli.service.connection import RETRY_S, Connection
from detctl_cli.service.problems import from_rpc, is_gone, unreachable
from detctl_cli.service.silence import SILENCE_S, unless_silent

COMPARE_S = 600.0


class Coordinator(Connection):
    """The calls. Every method raises CliError, and no exception of gRPC.

    check: called while an audit is watched; raises CliError if it cannot go on. Only local audits set it.
    """

    check: Callable[[], None] = staticmethod(lambda: None)

    def plan(self, request: audits_pb2.AuditRequest) -> audits_pb2.AuditPlan:
        """Returns what StartAudit would do, and starts nothing."""
        plan: audits_pb2.AuditPlan = self._call(self._audits.PlanAudit, request)
        return plan

    def start(self, request: audits_pb2.AuditRequest) -> audits_pb2.AuditPlan:
        """Starts the audit, and returns its plan, with its id."""
        plan: audits_pb2.AuditPlan = self._call(self._audits.StartAudit, request)
        return plan

    def cancel(self, audit_id: str) -> None:
        """Cancels the audit and its runs."""
        self._call(self._audits.CancelAudit, audits_pb2.AuditRef(audit_id=audit_id), timeout_s=10.0)

    def explain(self, request: audits_pb2.ExplainRequest) -> None:
        """Starts experiments on an audit that has a verdict."""
        self._call(self._audits.ExplainAudit, request, timeout_s=10.0)

    def compare(self, request: audits_pb2.CompareRequest) -> str:
        """Returns the verdict as JSON text."""
        try:
            reply: audits_pb2.VerdictReply = self._audits.Compare(request, metadata=self._metadata, timeout=COMPARE_S)
        except grpc.RpcError as error:
            # These machines share no runs. Nothing was compared, so the result is unknown (docs/adr/0022).
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

    def runs(self, request: audits_pb2.ListRequest) -> audits_pb2.RunList:
        """Returns the newest runs that match. `more`: older runs may match, too."""
        found: audits_pb2.RunList = self._call(self._audits.ListRuns, request)
        kept = [one for one in found.runs if _created_within(one.created_unix_s, request)]
        return audits_pb2.RunList(runs=kept, more=found.more or len(kept) < len(found.runs))

    def audits(self, request: audits_pb2.ListRequest) -> audits_pb2.AuditList:
        """Returns the newest audits that match. `more`: older audits may match, too."""
        found: audits_pb2.AuditList = self._call(self._audits.ListAudits, request)
        kept = [
            one
            for one in found.audits
            if _created_within(one.created_unix_s, request)
            and (request.outcome in ("", one.outcome) or not one.created_unix_s)
        ]
        return audits_pb2.AuditList(audits=kept, more=found.more or len(kept) < len(found.audits))

    def state_of(self, audit_id: str) -> str:
        """Returns the state of an audit, such as `running`; an empty text if the coordinator does not list it."""
        listed = self._call(self._audits.ListAudits, audits_pb2.ListRequest(audit_id=audit_id)).audits
        return next((info.state for info in listed if info.audit_id == audit_id), "")

    def show(self, identifier: str) -> audits_pb2.ShowReply:
        reply: audits_pb2.ShowReply = self._call(self._audits.Show, audits_pb2.ShowRequest(id=identifier))
        return reply

    def delete_runs(self, request: audits_pb2.DeleteRequest) -> list[str]:
        """Deletes runs, and returns their ids."""
        return list(self._call(self._audits.DeleteRuns, request).run_ids)

    def join(self, request: audits_pb2.JoinRequest) -> audits_pb2.JoinReply:
        reply: audits_pb2.JoinReply = self._call(self._audits.JoinAudit, request)
        return reply

    def import_run(self, request: audits_pb2.ImportRequest) -> audits_pb2.ImportReply:
        """Returns the run id for the segments of a folder (attempt 1), and the secret to send with them."""
        reply: audits_pb2.ImportReply = self._call(self._audits.ImportRun, request)
        return reply

    def finish_import(self, request: audits_pb2.ImportFinished) -> None:
        self._call(self._audits.FinishImport, request)

    def ingest(self, requests: Iterable[agents_pb2.IngestRequest]) -> Iterator[agents_pb2.IngestReply]:
        """Sends segments and seals, and yields one reply for each, in any order."""
        stub = agents_pb2_grpc.AgentsStub(self._channel)
        try:
            yield from stub.Ingest(iter(requests), metadata=self._metadata, timeout=COMPARE_S)
        except grpc.RpcError as error:
            raise from_rpc(error, self.address, self._token_file) from None

    def watch(
        self, audit_id: str, wait_s: float, gone: Callable[[str], None], back: Callable[[], None]
    ) -> Iterator[audits_pb2.AuditProgress]:
        """Yields progress up to the message with the verdict, also if the coordinator restarts.

        gone, back: called once for each outage. gone gets the message of a coordinator that answers, but whose store does not.
        Raises CliError after an outage of `wait_s` seconds.
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
                    self.check()
            except grpc.RpcError as error:
                if not is_gone(error):
                    raise from_rpc(error, self.address, self._token_file) from None
                problem = from_rpc(error, self.address, self._token_file)
                why = problem.message if problem.code == "unavailable" else ""
            if since is None:
                since = time.monotonic()
                gone(why)
            self._use_next_replica()
            while not self._reach(RETRY_S):
                self.check()
                self._use_next_replica()
                if time.monotonic() - since > wait_s:
                    raise CliError(
                        "unreachable",
                        f"the coordinator at {self.address} has not answered for {wait_s:.0f} s; audit {audit_id} may continue",
                        f"when it answers again, run detctl audit --attach {audit_id}",
                    )
            # The coordinator answers, but the stream ended without a verdict: this replica is about to end. Do not retry at once.
            threading.Event().wait(0.1)
            if time.monotonic() - since > wait_s:
                if why:
                    raise CliError("unavailable", why, f"when it answers again, run detctl audit --attach {audit_id}")
                raise unreachable(self.address, f"its progress stream has ended at once for {wait_s:.0f} s")

    def _open_watch(self, audit_id: str) -> Any:
        return self._audits.WatchAudit(audits_pb2.AuditRef(audit_id=audit_id), metadata=self._metadata)


def _created_within(created_unix_s: float, request: audits_pb2.ListRequest) -> bool:
    """Returns whether a row matches the request's times. An earlier coordinator does not know them, and sends all rows.

    Of a row that the coordinator cannot read, the time is not known (0). It is always listed.
    """
    until = request.until_unix_s or float("inf")
    return not created_unix_s or request.since_unix_s <= created_unix_s < until
