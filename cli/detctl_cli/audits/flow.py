"""One audit from its start to its verdict, whoever runs the coordinator."""

from __future__ import annotations

from typing import Any

from detctl_proto.v1 import audits_pb2

from detctl_cli.errors import CliError, TerminatedError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import note
from detctl_cli.reporters.progress import Progress
from detctl_cli.reporters.verdict import Form, parse_verdict, report_verdict
from detctl_cli.service.client import Coordinator


def start(coordinator: Coordinator, request: audits_pb2.AuditRequest) -> audits_pb2.AuditPlan:
    """Starts the audit and says what the coordinator warned of."""
    plan = coordinator.start(request)
    for warning in plan.warnings:
        note(f"warning: {clean(warning)}")
    return plan


def follow(coordinator: Coordinator, audit_id: str, wait_s: float, progress: Progress) -> dict[str, object]:
    """Shows progress up to the verdict and returns it. Ctrl-C and SIGTERM cancel the audit and go on to the caller."""

    def gone(why: str) -> None:
        where = f"the coordinator at {coordinator.address}"
        progress.say(f"{f'{where} says: {why}' if why else f'{where} is gone'}; trying again for {wait_s:.0f} s")

    def back() -> None:
        progress.say("the coordinator is back")

    last = audits_pb2.AuditProgress()
    try:
        with progress:
            for last in coordinator.watch(audit_id, wait_s, gone, back):
                progress.update(last)
    except (KeyboardInterrupt, TerminatedError):
        note(f"cancelling audit {clean(audit_id)}")
        try:
            coordinator.cancel(audit_id)
        except CliError as problem:
            note(f"it may go on: {clean(problem.message)}")
        raise
    except CliError as problem:
        if problem.code == "not-found" and last.state:
            raise CliError(
                "lost",
                f"the coordinator at {coordinator.address} has lost audit {audit_id}: its store was emptied, deleted or exchanged",
                "start the audit again",
                Exit.UNVERIFIED,
            ) from None
        raise
    if not last.verdict_json:
        raise CliError(
            "cancelled",
            f"audit {audit_id} was cancelled: {last.message or 'no reason given'}",
            exit_code=Exit.UNVERIFIED,
        )
    return parse_verdict(last.verdict_json)


def finish(
    coordinator: Coordinator,
    audit_id: str,
    wait_s: float,
    form: Form,
    if_unverified: list[str] | None = None,
    quiet: bool = False,
    explain: str | None = "",
) -> Exit:
    """Follows an audit to its verdict and reports it. explain: the command that would try its causes, where
    it is no `detctl explain`; None: nothing could."""
    verdict: dict[str, Any] = dict(follow(coordinator, audit_id, wait_s, Progress(quiet=quiet)))
    steps = [f"detctl show {audit_id}"] if verdict.get("outcome") != "identical" else []
    tried = verdict.get("explained") or verdict.get("experiments")
    if explain is not None and verdict.get("outcome") == "different" and not tried:
        steps.append(f"{explain or f'detctl explain {audit_id}'}   (confirms causes by experiment)")
    if verdict.get("outcome") == "unverified":
        steps += if_unverified or []
    return report_verdict(verdict, form, steps)
