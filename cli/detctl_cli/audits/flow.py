"""Follows an audit from its start to its verdict, with any coordinator."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from detctl_proto.v1 import audits_pb2

from detctl_cli.audits.confirm import Confirmation, confirm, is_unconfirmed
from detctl_cli.errors import CliError, TerminatedError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import note
from detctl_cli.progress.progress import Progress
from detctl_cli.reporters.verdict import Form, parse_verdict, report_verdict
from detctl_cli.service.client import Coordinator

if TYPE_CHECKING:
    from detctl_cli.audits.stopwatch import Stopwatch


def start(coordinator: Coordinator, request: audits_pb2.AuditRequest) -> audits_pb2.AuditPlan:
    """Starts the audit and shows the warnings of the coordinator. Returns the plan, with the audit's id."""
    plan = coordinator.start(request)
    for warning in plan.warnings:
        note(f"warning: {clean(warning)}")
    return plan


def follow(
    coordinator: Coordinator,
    audit_id: str,
    wait_s: float,
    progress: Progress,
    ending: str = "cancelling audit",
    *,
    attached: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, object]:
    """Shows progress until there is a verdict, and returns it. Ctrl-C and SIGTERM cancel the audit and are raised again.

    ending: what is logged then, in front of the audit's id. attached: the audit continues instead, and CliError is raised.
    stopwatch: measures the states of the audit.
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
                if stopwatch is not None:
                    stopwatch.update(last)
    except (KeyboardInterrupt, TerminatedError) as signalled:
        if attached:
            raise _detached(audit_id, signalled) from None
        note(f"{ending} {clean(audit_id)}")
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
    progress: Progress | None = None,
    explainable: bool = True,
    confirmation: Confirmation | None = None,
    attached: bool = False,
    stopwatch: Stopwatch | None = None,
) -> Exit:
    """Follows an audit to its verdict, reports it and returns the exit code.

    progress: shows what happens, if the command has already begun to show it.
    explainable: whether `detctl explain` can confirm causes. confirmation: goes on with experiments if the verdict has causes that
    are only indicated. attached: another command started the audit, so Ctrl-C ends only this one.
    stopwatch: its times are part of the report.
    """
    started = time.monotonic()
    progress = progress or Progress(quiet=form.quiet)
    verdict: dict[str, Any] = dict(
        follow(coordinator, audit_id, wait_s, progress, attached=attached, stopwatch=stopwatch)
    )
    progress.stop()
    elapsed_s = time.monotonic() - started

    def report(verdict: dict[str, Any], *, goes_on: bool = False) -> Exit:
        steps = [f"detctl show {audit_id}"] if verdict.get("outcome") != "identical" else []
        if explainable and is_unconfirmed(verdict) and not goes_on:
            steps.append(f"detctl explain {audit_id}   (confirms the causes by experiment)")
        if stopwatch is not None and not goes_on:
            verdict = {**verdict, "timings": stopwatch.document()}
        return report_verdict(verdict, form, steps)

    if not explainable or confirmation is None or not is_unconfirmed(verdict):
        return report(verdict)
    return confirm(
        coordinator, audit_id, wait_s, verdict, confirmation, elapsed_s, report, partial(follow, stopwatch=stopwatch)
    )
