"""detctl show ID; detctl show DIR"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_shown

ANSWER_DEPTH_MAX = 128  # the coordinator's limit for what it accepts, and its own document around that


@click.command("show", short_help="Show an audit, a run, a machine or a recording.")
@click.argument("identifier", metavar="ID|DIR", shell_complete=complete_shown)
@click.option("-v", "--verbose", is_flag=True, help="Show everything that is known, instead of what fits one screen.")
@json_option
@service_options
def command(identifier: str, verbose: bool, as_json: bool) -> Exit:
    """Show what is known about an audit, a run, a machine or a recording, on one screen. With -v, show everything.

    ID is the id of an audit or a run, or the name of a machine. DIR is a folder that `detctl record` made. It is read
    on this machine, without a coordinator.

    \b
    Examples:
      detctl show 4c1f9e22
      detctl show -v gpu1
      detctl show ./check1
    """
    from detctl_cli.output.terminal import console, write_json

    if _is_recording(identifier):
        kind, content = "recording", _recording(Path(identifier))
    else:
        kind, content = _stored(identifier)
    if as_json:
        write_json({"schema": "detctl.show/v1", "kind": kind, kind or "item": content})
    elif verbose:
        from detctl_cli.reporters.show.details import write_details

        write_details(kind, content, console())
    else:
        from detctl_cli.reporters.show.summary import write_summary

        write_summary(kind, content, console(), f"detctl show -v {identifier}")
    return Exit.IDENTICAL


def _is_recording(identifier: str) -> bool:
    """Returns whether the argument names a folder. Ids have no slash, and a folder without run.json may share its name with one."""
    folder = Path(identifier)
    return (folder / "run.json").exists() or "/" in identifier or identifier.startswith((".", "~"))


def _recording(folder: Path) -> dict[str, Any]:
    from detctl_proto.security.redaction import redact_document

    from detctl_cli.recordings.folder import open_recording
    from detctl_cli.recordings.seals import seals_of

    recording = open_recording(folder)
    content = {**recording.run, "folder": str(folder), "damage": recording.damage, "output_tail": recording.output_tail}
    content |= {"seals": seals_of(recording), "manifest": recording.manifest}
    return dict(redact_document(content))


def _stored(identifier: str) -> tuple[str, dict[str, Any]]:
    """Returns (kind, content) of what a coordinator has. Raises CliError."""
    from detctl_proto.outside_json import JsonError, parse_object
    from detctl_proto.security.redaction import redact_document

    from detctl_cli.errors import CliError

    with service() as coordinator:
        reply = coordinator.show(identifier)
    try:
        answer = f"the coordinator's answer about {identifier}"
        parsed = parse_object(reply.json, answer, sys.maxsize, repair=True, depth_max=ANSWER_DEPTH_MAX)
    except JsonError as problem:
        raise CliError("coordinator", str(problem), "update detctl and the coordinator to the same version") from None
    return reply.kind, dict(redact_document(parsed))
