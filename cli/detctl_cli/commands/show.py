"""detctl show ID"""

from __future__ import annotations

import json

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit


@click.command("show", short_help="Show an audit, a run or a machine.")
@click.argument("identifier", metavar="ID")
@json_option
@service_options
def command(identifier: str, as_json: bool) -> Exit:
    """Show all that is known of an audit, a run or a machine.

    Example: detctl show gpu1
    """
    from detctl_proto.redaction import redact_document

    from detctl_cli.errors import CliError
    from detctl_cli.reporters.details import print_details
    from detctl_cli.terminal import console, write_json

    with service() as coordinator:
        reply = coordinator.show(identifier)
    try:
        content = redact_document(json.loads(reply.json))
    except ValueError:
        raise CliError("coordinator", f"the coordinator's answer about {identifier} is no JSON") from None
    if as_json:
        write_json({"schema": "detctl.show/v1", "kind": reply.kind, reply.kind or "item": content})
    else:
        print_details(reply.kind, content, console())
    return Exit.IDENTICAL
