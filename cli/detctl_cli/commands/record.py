"""detctl record -o DIR -- COMMAND"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import rich_click as click

from detctl_cli.commands.options import DashCommand, command_after_dashes, json_option
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit


@click.command("record", cls=DashCommand, short_help="Capture one training into a folder, without any service.")
@click.option(
    "-o", "--output", "folder", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where to."
)
@click.option("--steps", metavar="A:B", help="Record steps A to B-1; 0:32 by default.")
@click.option("--to-end", is_flag=True, help="Record up to the end of training.")
@click.option(
    "--set", "set_", metavar="NAME=V", multiple=True, help="env:VAR=V or an intervention (listing=sorted, workers=0 …)."
)
@click.option(
    "--level", type=click.Choice(["step", "module", "op"]), default="module", show_default=True, help="How fine."
)
@click.option(
    "--budget",
    metavar="SHARE",
    help="Share of step time that the probe may take, as 2%: it leaves out what costs more.",
)
@click.option("--copy", is_flag=True, help="Train in a copy of this folder.")
@click.option("--in-place", is_flag=True, help="Train in this folder itself (default).")
@click.option("--machine", metavar="NAME", help="Under which name to file it; this host's by default.")
@click.option("--timeout", "timeout_s", metavar="SECONDS", type=click.IntRange(1), help="End the training after that.")
@click.option("--join", metavar="AUDIT", hidden=True, help="For user-launched runs of an audit.")
@json_option
def command(
    folder: Path,
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
    as_json: bool,
) -> Exit:
    """Train the command that follows `--` here, and keep its fingerprints in a folder; no service is needed.

    Exits 0 when the training was captured, 3 when it was not wholly (a crash, no torch), 2 on trouble.

    Examples: detctl record -o check1 -- python train.py --seed 0

    detctl record -o check2 -- python train.py --seed 0; detctl compare check1 check2
    """
    from detctl_cli.recordings.capture import CaptureOptions, capture
    from detctl_cli.terminal import note, write_json
    from detctl_cli.window import assignment_of, share_of, window_of

    typed = command_after_dashes()
    if not typed:
        raise UsageError("say what to train after --", f"detctl record -o {folder} -- python train.py")
    if join:
        raise UsageError("--join is not built yet", "record into a folder with -o and compare folders")
    if copy and in_place:
        raise UsageError("--copy and --in-place exclude each other")
    if steps:
        if to_end:
            raise UsageError("--steps A:B and --to-end exclude each other")
        window_of(steps)
    for text in set_:
        assignment_of("--set", text)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError("exists", f"{folder} exists and is not empty", "choose another name; nothing was overwritten")
    options = CaptureOptions(steps, to_end, set_, level, copy, machine, timeout_s, share_of(budget))
    try:
        result = capture(folder, typed, options, stdout=sys.stderr.fileno() if as_json else None)
    except KeyboardInterrupt:
        if as_json or not (folder / "run.json").exists():
            raise
        return Exit.INTERRUPTED  # the recorder has said so, and what it kept
    captured = result.exit_code is Exit.IDENTICAL
    if as_json and result.run:
        document = {"folder": str(folder), "captured": captured, "because": result.because, "run": result.run}
        write_json({"schema": "detctl.recording/v1", **document})
    elif as_json or (not captured and not result.told):
        raise CliError("unverified" if result.run else "record", f"{folder}: {result.because}", "", result.exit_code)
    elif captured:
        again = f"{folder}-b"
        note(f"next: {shlex.join(['detctl', 'record', '-o', again, '--', *typed])}")
        note(f"then: {shlex.join(['detctl', 'compare', str(folder), again])}")
    return result.exit_code
