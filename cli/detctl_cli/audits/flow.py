"""Follows an audit from its start to its verdict, with any coordinator."""

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
    """Starts the audit and shows the warnings of the coordinator. Returns the plan, with the audit's id."""
    plan = coordinator.start(request)
    for warning in plan.warnings:
        note(f"warning: {clean(warning)}")
    return plan


def follow(
    coordinator: Coordinator, audit_id: str, wait_s: float, progress: Progress, *, attached: bool = False
) -> dict[str, object]:
    """Shows progress until there is a verdict, and returns it.

    Ctrl-C and SIGTERM cancel the audit and are raised again. attached: the audit continues instead, and CliError is raised.
    """

    def gone(why: str) -> None:
        problem = f"reports: {why}" if why else "does not answer"
        progress.log(f"the coordinator at {coordinator.address} {problem}; trying again for {wait_s:.0f} s")

    def back() -> None:
        progress.log("the coordinator answers again")

    last = audits_pb2.AuditProgress()
    try:
        with progress:
            for last in coordinator.watch(audit_id, wait_s, gone, back):
                progress.update(last)
    except (KeyboardInterrupt, TerminatedError) as signalled:
        if attached:
            raise _detached(audit_id, signalled) from None
        note(f"cancelling audit {clean(audit_id)}")
        try:
            coordinator.cancel(audit_id)
        except CliError as problem:
            note(f"the audit may continue, since it could not be cancelled: {clean(problem.message)}")
        raise
    except CliError as problem:
        if problem.code == "not-found" and last.state:
            raise CliError(
                "lost",
                f"the coordinator at {coordinator.address} has lost audit {audit_id}: its store was emptied, deleted or replaced",
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


def _detached(audit_id: str, signalled: BaseException) -> CliError:
    return CliError(
        "detached",
        f"detached from audit {audit_id}, which continues",
        f"to wait for it again, run detctl audit --attach {audit_id}; to cancel it, run detctl cancel {audit_id}",
        Exit.INTERRUPTED if isinstance(signalled, KeyboardInterrupt) else Exit.TERMINATED,
    )


def finish(
    coordinator: Coordinator,
    audit_id: str,
    wait_s: float,
    form: Form,
    if_unverified: list[str] | None = None,
    quiet: bool = False,
    explain: str | None = "",
    attached: bool = False,
) -> Exit:
    """Follows an audit to its verdict, reports it and returns the exit code.

    attached: another command started the audit, so Ctrl-C ends only this one.
    if_unverified: hints for an unverified outcome. explain: the command that confirms causes, if it is not
    `detctl explain`; None if no command can.
    """
    verdict: dict[str, Any] = dict(follow(coordinator, audit_id, wait_s, Progress(quiet=quiet), attached=attached))
    steps = [f"detctl show {audit_id}"] if verdict.get("outcome") != "identical" else []
    explained = verdict.get("explained") or verdict.get("experiments")
    if explain is not None and verdict.get("outcome") == "different" and not explained:
        steps.append(f"{explain or f'detctl explain {audit_id}'}   (confirms the causes by experiment)")
    if verdict.get("outcome") == "unverified":
        steps += if_unverified or []
    return report_verdict(verdict, form, steps)
