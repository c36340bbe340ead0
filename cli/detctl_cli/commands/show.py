"""detctl show ID"""

from __future__ import annotations

import sys

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_shown

ANSWER_DEPTH_MAX = 128  # the coordinator's limit for what it accepts, and its own document around that


@click.command("show", short_help="Show everything about an audit, a run or a machine.")
@click.argument("identifier", metavar="ID", shell_complete=complete_shown)
@json_option
@service_options
def command(identifier: str, as_json: bool) -> Exit:
    """Show everything that is known about an audit, a run or a machine.

    ID is the id of an audit or a run, or the name of a machine.

    \b
    Examples:
      detctl show 4c1f9e22
      detctl show gpu1
    """
    from detctl_proto.outside_json import JsonError, parse_object
    from detctl_proto.security.redaction import redact_document

    from detctl_cli.errors import CliError
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.details import write_details

    with service() as coordinator:
        reply = coordinator.show(identifier)
    try:
        answer = f"the coordinator's answer about {identifier}"
        parsed = parse_object(reply.json, answer, sys.maxsize, repair=True, depth_max=ANSWER_DEPTH_MAX)
    except JsonError as problem:
        raise CliError("coordinator", str(problem), "update detctl and the coordinator to the same version") from None
    content = redact_document(parsed)
    if as_json:
        write_json({"schema": "detctl.show/v1", "kind": reply.kind, reply.kind or "item": content})
    else:
        write_details(reply.kind, content, console())
    return Exit.IDENTICAL
