"""Runs that users start: takes the next run of an audit, records its training as `detctl record` does, and sends the recording."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detctl_proto.v1 import audits_pb2

from detctl_cli.errors import CliError, TerminatedError
from detctl_cli.exits import Exit
from detctl_cli.output.clean import clean
from detctl_cli.output.terminal import note
from detctl_cli.recordings.capture import Captured, CaptureOptions, capture
from detctl_cli.recordings.folder import open_recording
from detctl_cli.recordings.following import AWAY, Following
from detctl_cli.recordings.send import RunHeld, send_as
from detctl_cli.service.client import Coordinator

AGAIN_S = 2.0


@dataclass(frozen=True)
class Join:
    """The requested run: any free run of this machine (and environment). again: also a run whose holder is gone."""

    audit_id: str
    machine: str
    environment: str = ""
    again: bool = False


def take(coordinator: Coordinator, join: Join) -> audits_pb2.JoinReply:
    """Takes a run, which is ours from now on. Raises CliError."""
    run = coordinator.join(
        audits_pb2.JoinRequest(
            audit_id=join.audit_id,
            machine=join.machine,
            environment=join.environment,
            again=join.again,
            holder=f"join-{secrets.token_hex(8)}",
        )
    )
    left = f"; {run.left} more on {join.machine} wait to be started" if run.left else ""
    note(f"audit {clean(join.audit_id)}: recording the run {clean(run.label)}{left}")
    return run


def options_of(
    run: audits_pb2.JoinReply,
    join: Join,
    *,
    copy: bool,
    timeout_s: int | None,
    attach: Path | None,
    quiet: bool = False,
) -> CaptureOptions:
    """Returns the options with the steps, level, variables and interventions of the audit."""
    changes = [f"env:{name}={value}" for name, value in sorted(run.variables.items())]
    changes += [f"{name}={value}" for name, value in sorted(run.interventions.items())]
    steps = f"{run.step_from}:{run.step_to or ''}"
    return CaptureOptions(
        steps, False, tuple(changes), run.level, copy, join.machine, timeout_s, run.budget_share, attach, quiet=quiet
    )


def train_and_send(
    coordinator: Coordinator,
    run: audits_pb2.JoinReply,
    folder: Path,
    command: Sequence[str],
    options: CaptureOptions,
    *,
    wait_s: float,
    stdout: int | None,
) -> Captured:
    """Runs the training and sends its recording. Raises CliError.

    The run is released if the training was interrupted or could not be recorded, so that it can be started again.
    """
    held = RunHeld(run.run_id, run.attempt, run.secret)
    following = Following(coordinator, folder, held)
    try:
        with following:
            result = capture(folder, command, options, stdout=stdout)
    except (KeyboardInterrupt, TerminatedError):
        _release(coordinator, run, "its user interrupted it")
        raise
    if result.exit_code is Exit.INTERRUPTED or not result.run:
        _release(coordinator, run, result.because or "it was interrupted")
        return result
    if elsewhere := result.run.get("ranks_elsewhere"):
        # A run with these ranks would be compared with runs that have all ranks.
        _release(coordinator, run, "it trains on several nodes")
        raise CliError(
            "several-nodes",
            f"{elsewhere} ranks of this training are on other nodes, and a joined run must be on one node",
            "record each node with -o DIR, and compare each pair of nodes with detctl compare DIR_A DIR_B",
            Exit.UNVERIFIED,
        )
    recording = open_recording(folder)
    _patiently(lambda: send_as(coordinator, recording, held, following.sent), wait_s, folder)
    note(f"sent: {recording.run.get('records', 0):,} fingerprints")
    return result


def _patiently(send: Callable[[], None], wait_s: float, folder: Path) -> None:
    """Retries while the coordinator does not answer, since the training may have taken days. Sending twice is harmless."""
    end = time.monotonic() + wait_s
    reported = False
    while True:
        try:
            send()
            return
        except CliError as problem:
            if problem.code not in AWAY or time.monotonic() > end:
                kept = (
                    f"{problem.hint}; the recording is kept in {folder}"
                    if problem.hint
                    else f"the recording is kept in {folder}"
                )
                raise CliError(problem.code, problem.message, kept, problem.exit_code) from None
            if not reported:
                note(f"{clean(problem.message)}; trying again for {wait_s:.0f} s")
                reported = True
            time.sleep(AGAIN_S)


def _release(coordinator: Coordinator, run: audits_pb2.JoinReply, why: str) -> None:
    """Gives the run back to the audit, so that it can be started again."""
    finished = audits_pb2.ImportFinished(
        run_id=run.run_id, attempt=run.attempt, end="lost", message=why, manifest_json="{}", secret=run.secret
    )
    try:
        coordinator.finish_import(finished)
        note(f"{clean(run.label)} was released; the audit waits until it is started again")
    except CliError as problem:
        note(f"{clean(run.label)} could not be released: {clean(problem.message)}; take it over with --again")
