"""detctl record -o DIR -- COMMAND; detctl record --join AUDIT -- COMMAND"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import rich_click as click

from detctl_cli.audits.option_values import assignment_of, requested_window
from detctl_cli.audits.options import Waiting, WhatToRecord
from detctl_cli.commands.options import (
    QUIET_HELP,
    TIMINGS_HELP,
    DashCommand,
    Output,
    command_after_dashes,
    configured,
    service_options,
)
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit
from detctl_cli.local.command_check import check_command
from detctl_cli.local.places import refuse_full
from detctl_cli.option_groups import option, option_groups


@dataclass(frozen=True)
class Training:
    """Where the training runs, and where its recording goes."""

    PANEL: ClassVar[str] = "Training and recording"
    folder: Path | None = option(
        "-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Folder for the recording."
    )
    set_: tuple[str, ...] = option(
        "--set",
        metavar="NAME=V",
        multiple=True,
        help="Set a variable (env:VAR=V) or an intervention (listing=sorted, workers=0) for the training.",
    )
    copy: bool = option(
        "--copy",
        is_flag=True,
        help="Run the training in a private view of this folder, and discard what it writes there.",
    )
    in_place: bool = option("--in-place", is_flag=True, help="Run the training in this folder itself (the default).")
    machine: str | None = option(
        "--machine", metavar="NAME", help="Name of this machine in the recording. The default is the host name."
    )
    timeout_s: int | None = option(
        "--timeout", metavar="SECONDS", type=click.IntRange(1), help="End the training after this time."
    )
    attach: Path | None = option(
        "--attach",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Run as a sidecar. Another container starts the training with `python3 DIR/attach.pyz COMMAND`; both"
        " containers need DIR.",
    )


@dataclass(frozen=True)
class Joined:
    """Which run of an audit the training is."""

    PANEL: ClassVar[str] = "Run of an audit"
    audit_id: str | None = option(
        "--join", metavar="AUDIT", help="Record the next run of this audit, and send the recording to its coordinator."
    )
    environment: str = option(
        "--environment",
        metavar="NAME",
        default="",
        help="With --join: the environment of the audit in which this training runs.",
    )
    again: bool = option(
        "--again",
        is_flag=True,
        help="With --join: take over a run whose `detctl record` was killed, if the run or the audit is yours.",
    )


@dataclass(frozen=True)
class RecordOutput(Output):
    """How a recording is reported."""

    quiet: bool = option("-q", "--quiet", is_flag=True, help=QUIET_HELP)
    timings: bool = option("--timings", is_flag=True, help=TIMINGS_HELP)


@dataclass(frozen=True)
class RecordOptions:
    """The options of `detctl record`."""

    training: Training
    recording: WhatToRecord
    joined: Joined
    waiting: Waiting


@click.command("record", cls=DashCommand, short_help="Record a training into a folder, or as a run of an audit.")
@option_groups(options=RecordOptions, output=RecordOutput)
@service_options
def command(options: RecordOptions, output: RecordOutput) -> Exit:
    """Run the training after `--` on this machine, and keep the fingerprints of its values in a folder.

    This needs no coordinator. Compare two recordings with `detctl compare`.

    With --join, the training is a run of an audit that was started with --join-only. Start it as you like: with srun,
    ssh or kubectl. The audit determines which steps are recorded, and the recording is sent during the training.

    The exit code is 0 if the training was recorded, 3 if it was not recorded completely (for example because it
    crashed), and 2 on other trouble.

    \b
    Examples:
      detctl record -o check1 -- python train.py --seed 0
      detctl record -o check2 -- python train.py --seed 0
      srun detctl record --join a1b2c3d4e5 -- torchrun train.py
    """
    typed = command_after_dashes() or []
    _check_fits(options, typed)
    if typed:
        check_command(typed, Path.cwd())
    refuse_full(options.training.folder)
    if options.joined.audit_id:
        return _join(options, typed, output)
    return _record(options, typed, output)


def _check_fits(options: RecordOptions, typed: list[str]) -> None:
    training, recording, joined = options.training, options.recording, options.joined
    example = "detctl record -o check1 -- python train.py"
    if training.attach and (typed or training.copy):
        raise UsageError("--attach does not go with a command or with --copy", "the other container starts the command")
    if not typed and not training.attach:
        raise UsageError("there is no command after --", f"for example: {example}")
    if training.folder is None and not joined.audit_id:
        raise UsageError("neither -o DIR nor --join AUDIT is given", f"for example: {example}")
    if not joined.audit_id and (joined.environment or joined.again):
        raise UsageError("--environment and --again go with --join AUDIT", "add --join AUDIT, or leave them out")
    if joined.audit_id and (recording.steps or recording.to_end or training.set_ or recording.budget_share):
        raise UsageError(
            "--steps, --to-end, --set and --budget do not go with --join", "leave them out: the audit determines them"
        )
    if training.copy and training.in_place:
        raise UsageError("--copy and --in-place exclude each other", "leave one of them out")
    requested_window(recording.steps, recording.to_end)
    for text in training.set_:
        assignment_of("--set", text)


def _record(options: RecordOptions, typed: list[str], output: RecordOutput) -> Exit:
    from detctl_proto.security.redaction import redact_command, redact_document

    from detctl_cli.output.failure_sentences import advice, what_happened
    from detctl_cli.output.terminal import note, write_json
    from detctl_cli.recordings.capture import CaptureOptions, capture

    training, recording, folder = options.training, options.recording, options.training.folder
    as_json, quiet = output.as_json, output.quiet
    assert folder is not None
    capture_options = CaptureOptions(
        recording.steps, recording.to_end, training.set_, recording.level, training.copy, training.machine,
        training.timeout_s, recording.budget_share, training.attach, quiet=quiet,
    )  # fmt: skip
    try:
        result = capture(folder, typed, capture_options, stdout=sys.stderr.fileno() if as_json else None)
    except KeyboardInterrupt:
        if as_json or not (folder / "run.json").exists():
            raise
        return Exit.INTERRUPTED  # the recorder has already reported this, and what it kept
    captured = result.exit_code is Exit.IDENTICAL
    if isinstance(failure := result.run.get("failure"), dict):
        note(f"{what_happened(failure)}. {advice(failure)}")
    _show_timings(result.run, output)
    if as_json and result.run:
        document = {"folder": str(folder), "captured": captured, "because": result.because, "run": result.run}
        write_json(redact_document({"schema": "detctl.recording/v1", **document}))
    elif as_json or (not captured and not result.reported):
        raise CliError("unverified" if result.run else "record", f"{folder}: {result.because}", "", result.exit_code)
    elif captured and typed and not quiet:
        second = f"{folder}-b"
        note(f"next: {shlex.join(['detctl', 'record', '-o', second, '--', *redact_command(typed)])}")
        note(f"then: {shlex.join(['detctl', 'compare', str(folder), second])}")
    return result.exit_code


def _show_timings(run: Mapping[str, Any], output: RecordOutput) -> None:
    """Writes to stderr where the time of the run went, if that was requested; stdout is the training's."""
    timings = run.get("timings")
    if not output.timings or output.as_json or not isinstance(timings, dict):
        return
    from detctl_cli.output.terminal import console
    from detctl_cli.reporters.timings import write_recording_timings

    write_recording_timings(timings, console(sys.stderr))


def _join(options: RecordOptions, typed: list[str], output: RecordOutput) -> Exit:
    from detctl_proto.syntax.names import machine_name

    from detctl_cli.output.terminal import note, write_json
    from detctl_cli.recordings.join import Join, options_of, take, train_and_send  # with gRPC, which takes a while

    training, joined = options.training, options.joined
    as_json, quiet = output.as_json, output.quiet
    assert joined.audit_id is not None
    join = Join(joined.audit_id, training.machine or machine_name(), joined.environment, joined.again)
    with configured("--join needs the coordinator of the audit") as coordinator:
        run = take(coordinator, join)
        capture_options = options_of(
            run, join, copy=training.copy, timeout_s=training.timeout_s, attach=training.attach, quiet=quiet
        )
        # It is kept if sending failed: it may hold days of work.
        place = training.folder or Path(tempfile.mkdtemp(prefix="detctl-join-", dir=training.attach)) / "run"
        stdout = sys.stderr.fileno() if as_json else None
        wait_s = options.waiting.wait_s
        result = train_and_send(coordinator, run, place, typed, capture_options, wait_s=wait_s, stdout=stdout)
    _show_timings(result.run, output)
    if training.folder is None:
        shutil.rmtree(place.parent, ignore_errors=True)
    if as_json:
        captured = result.exit_code is Exit.IDENTICAL
        document = {"audit": join.audit_id, "run": run.run_id, "label": run.label, "captured": captured}
        write_json({"schema": "detctl.joined/v1", **document, "because": result.because})
    elif result.because and not result.reported:
        raise CliError("unverified", f"{run.label}: {result.because}", "", result.exit_code)
    note(f"to see the verdict, run: detctl audit --attach {join.audit_id}")
    return result.exit_code
