"""`detctl-agent record -o DIR -- COMMAND`: records one training without any service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detctl_proto.levels import DEFAULT_LEVEL, LEVELS

from detctl_agent.commands.record_attached import AttachedRecording
from detctl_agent.commands.recording import Recording
from detctl_agent.toolkit import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="New or empty folder for the recording.",
)
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default=DEFAULT_LEVEL,
    show_default=True,
    help="How much is recorded of each step.",
)
@click.option("--budget", metavar="SHARE", help="Share of step time that the probe may take, such as 2% or 0.02.")
@click.option("--steps", help="Window A:B of steps to record, B exclusive [default: 0:32].")
@click.option("--to-end", is_flag=True, help="Record all steps and let the training finish.")
@click.option(
    "--copy/--in-place",
    "in_copy",
    default=False,
    help="Run in a private view of the working folder, or in the folder itself [default: --in-place].",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="NAME=DIR",
    help="Folder or file that is compared by its name instead of its path.",
)
@click.option(
    "--set",
    "interventions",
    multiple=True,
    metavar="NAME=VALUE",
    help="Intervention, such as listing=sorted or workers=0.",
)
@click.option("--machine", help="Name of the machine in the recording [default: this host's].")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="Seconds after which the training is ended.")
@click.option(
    "--attach",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Record a training that another container starts by `python3 DIR/attach.pyz COMMAND`. Both containers see DIR.",
)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Variable of the training, with --attach."
)
@click.option("--quiet", is_flag=True, help="Show no progress. Problems are still shown.")
@click.argument("command", nargs=-1)
@click.pass_context
def record(context: click.Context, /, **options: Any) -> None:
    """Records one training into a folder.

    Exit code: 0 if the recording can be compared, 3 if it holds nothing to compare or the training failed, 2 if detctl could not
    record, 130 if you interrupted it.

    \b
    Examples:
      detctl-agent record -o run1 -- python train.py --epochs 1
      detctl-agent record -o run2 --steps 0:100 --set workers=0 -- python train.py
    """
    attach: Path | None = options.pop("attach")
    variables = options.pop("variables")
    if attach is None and not options["command"]:
        raise click.UsageError("give the command after `--`, as you type it in a shell")
    if attach is not None:
        context.exit(AttachedRecording(attach, variables, **options).run())
    context.exit(Recording(**options).run())
