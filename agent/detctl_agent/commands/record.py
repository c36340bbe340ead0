"""`detctl-agent record -o DIR -- COMMAND`: one training, captured without any service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from detctl_proto.levels import DEFAULT_LEVEL, LEVELS

from detctl_agent.commands.record_attached import AttachedRecording
from detctl_agent.commands.recording import Recording


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="folder to make")
@click.option("--level", type=click.Choice(LEVELS), default=DEFAULT_LEVEL, show_default=True)
@click.option("--budget", metavar="SHARE", help="of step time, that the probe may take: 2% or 0.02")
@click.option("--steps", help="window A:B of steps, B exclusive [default: 0:32]")
@click.option("--to-end", is_flag=True, help="let the training finish")
@click.option(
    "--copy/--in-place", "in_copy", default=False, help="run in a private copy of the working folder, or in it"
)
@click.option(
    "--path", "paths", multiple=True, metavar="NAME=DIR", help="a place that is compared by name, not by value"
)
@click.option(
    "--set", "interventions", multiple=True, metavar="NAME=VALUE", help="an intervention: listing=sorted, workers=0"
)
@click.option("--machine", help="name to file it under [default: this host's]")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), help="seconds after which it is ended")
@click.option(
    "--attach",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="the training is started in another container, by `python3 DIR/attach.pyz COMMAND`; both see DIR",
)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="with --attach: a variable of the training"
)
@click.argument("command", nargs=-1)
@click.pass_context
def record(context: click.Context, /, **options: Any) -> None:
    """Captures one training into a folder. Exit code: 0 captured, 3 nothing to compare in it, 2 trouble, 130 interrupted."""
    attach: Path | None = options.pop("attach")
    variables = options.pop("variables")
    if attach is None and not options["command"]:
        raise click.UsageError("give the command behind `--`, as you type it in a shell")
    if attach is not None:
        context.exit(AttachedRecording(attach, variables, **options).run())
    context.exit(Recording(**options).run())
