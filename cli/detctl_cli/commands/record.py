"""detctl record -o DIR -- COMMAND; detctl record --join AUDIT -- COMMAND"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from detctl_proto.levels import DEFAULT_LEVEL, LEVELS

from detctl_cli.commands.options import (
    DashCommand,
    command_after_dashes,
    configured,
    json_option,
    service_options,
    wait_option,
)
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit

if TYPE_CHECKING:
    from detctl_cli.recordings.join import Join


@click.command("record", cls=DashCommand, short_help="Capture one training into a folder, or as a run of an audit.")
@click.option("-o", "--output", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Where to.")
@click.option("--steps", metavar="A:B", help="Record steps A to B-1; 0:32 by default.")
@click.option("--to-end", is_flag=True, help="Record up to the end of training.")
@click.option(
    "--set", "set_", metavar="NAME=V", multiple=True, help="env:VAR=V or an intervention (listing=sorted, workers=0 …)."
)
@click.option("--level", type=click.Choice(LEVELS), default=DEFAULT_LEVEL, show_default=True, help="How fine.")
@click.option(
    "--budget",
    metavar="SHARE",
    help="Share of step time that the probe may take, as 2%: it leaves out what costs more.",
)
@click.option("--copy", is_flag=True, help="Train in a copy of this folder.")
@click.option("--in-place", is_flag=True, help="Train in this folder itself (default).")
@click.option("--machine", metavar="NAME", help="Under which name to file it; this host's by default.")
@click.option("--timeout", "timeout_s", metavar="SECONDS", type=click.IntRange(1), help="End the training after that.")
@click.option("--join", metavar="AUDIT", help="Train the next run of an audit that waits for it, and send it.")
@click.option(
    "--environment", metavar="NAME", default="", help="With --join: which of the audit's environments this is."
)
@click.option(
    "--again",
    is_flag=True,
    help="With --join: take over a run of yours, or of an audit that you started, whose record was killed.",
)
@click.option(
    "--attach",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="As a sidecar: the training is started in another container by `python3 DIR/attach.pyz COMMAND`; both see DIR.",
)
@wait_option
@json_option
@service_options
def command(
    folder: Path | None,
    steps: str | None,
    to_end: bool,
    set_: tuple[str, ...],
    level: str,
    budget: str | None,
    copy: bool,
    in_place: bool,
    machine: str | None,
    timeout_s: int | None,
    join: str | None,
    environment: str,
    again: bool,
    attach: Path | None,
    wait_s: float,
    as_json: bool,
) -> Exit:
    """Train the command that follows `--` here, and keep its fingerprints in a folder; no service is needed.

    With --join it is a run of an audit that was started with --join-only, whatever started it here: srun, ssh, kubectl. The audit
    says which steps; what is recorded is sent while it trains.

    Exits 0 when the training was captured, 3 when it was not wholly (a crash, no torch), 2 on trouble.

    Examples: detctl record -o check1 -- python train.py --seed 0

    detctl record -o check2 -- python train.py --seed 0; detctl compare check1 check2

    srun -w gpu1 detctl record --join a1b2c3d4e5 --machine gpu1 -- torchrun --nproc-per-node 2 train.py
    """
    from detctl_proto.redaction import redact_command, redact_document

    from detctl_cli.audits.window import assignment_of, requested_window, share_of
    from detctl_cli.output.terminal import note, write_json
    from detctl_cli.recordings.capture import CaptureOptions, capture

    typed = command_after_dashes() or []
    if attach and (typed or copy):
        raise UsageError("--attach goes without a command and without --copy", "the other container gives the command")
    if not typed and not attach:
        raise UsageError("say what to train after --", "detctl record -o check1 -- python train.py")
    if folder is None and not join:
        raise UsageError("say where to: -o DIR, or --join AUDIT", "detctl record -o check1 -- python train.py")
    if not join and (environment or again):
        raise UsageError("--environment and --again go with --join AUDIT")
    if join and (steps or to_end or set_ or budget):
        raise UsageError("--steps, --to-end, --set and --budget do not go with --join", "the audit says them")
    if copy and in_place:
        raise UsageError("--copy and --in-place exclude each other")
    requested_window(steps, to_end)
    for text in set_:
        assignment_of("--set", text)
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError("exists", f"{folder} exists and is not empty", "choose another name; nothing was overwritten")
    if join:
        from detctl_proto.names import machine_name

        from detctl_cli.recordings.join import Join  # with gRPC, which takes a while

        wanted = Join(join, machine or machine_name(), environment, again)
        return _join(
            wanted, folder, typed, copy=copy, timeout_s=timeout_s, attach=attach, wait_s=wait_s, as_json=as_json
        )
    assert folder is not None
    options = CaptureOptions(steps, to_end, set_, level, copy, machine, timeout_s, share_of(budget), attach)
    try:
        result = capture(folder, typed, options, stdout=sys.stderr.fileno() if as_json else None)
    except KeyboardInterrupt:
        if as_json or not (folder / "run.json").exists():
            raise
        return Exit.INTERRUPTED  # the recorder has said so, and what it kept
    captured = result.exit_code is Exit.IDENTICAL
    if as_json and result.run:
        document = {"folder": str(folder), "captured": captured, "because": result.because, "run": result.run}
        write_json(redact_document({"schema": "detctl.recording/v1", **document}))
    elif as_json or (not captured and not result.told):
        raise CliError("unverified" if result.run else "record", f"{folder}: {result.because}", "", result.exit_code)
    elif captured and typed:
        second = f"{folder}-b"
        note(f"next: {shlex.join(['detctl', 'record', '-o', second, '--', *redact_command(typed)])}")
        note(f"then: {shlex.join(['detctl', 'compare', str(folder), second])}")
    return result.exit_code


def _join(
    join: Join,
    folder: Path | None,
    typed: list[str],
    *,
    copy: bool,
    timeout_s: int | None,
    attach: Path | None,
    wait_s: float,
    as_json: bool,
) -> Exit:
    from detctl_cli.output.terminal import note, write_json
    from detctl_cli.recordings.join import options_of, take, train_and_send

    with configured("--join needs the coordinator that has the audit") as coordinator:
        run = take(coordinator, join)
        options = options_of(run, join, copy=copy, timeout_s=timeout_s, attach=attach)
        # Not removed where sending failed: it may hold days of work.
        place = folder or Path(tempfile.mkdtemp(prefix="detctl-join-", dir=attach)) / "run"
        stdout = sys.stderr.fileno() if as_json else None
        result = train_and_send(coordinator, run, place, typed, options, wait_s=wait_s, stdout=stdout)
    if folder is None:
        shutil.rmtree(place.parent, ignore_errors=True)
    if as_json:
        captured = result.exit_code is Exit.IDENTICAL
        document = {"audit": join.audit_id, "run": run.run_id, "label": run.label, "captured": captured}
        write_json({"schema": "detctl.joined/v1", **document, "because": result.because})
    elif result.because and not result.told:
        raise CliError("unverified", f"{run.label}: {result.because}", "", result.exit_code)
    note(f"the verdict: detctl audit --attach {join.audit_id}")
    return result.exit_code
