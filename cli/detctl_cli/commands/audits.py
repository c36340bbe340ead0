"""detctl audits"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import json_option, limit_option, service, service_options
from detctl_cli.exits import Exit


@click.command("audits", short_help="List audits and their verdicts.")
@click.option("--recipe", metavar="NAME", default="", help="List only audits of this recipe.")
@click.option("--machine", metavar="NAME", default="", help="List only audits that use this machine.")
@limit_option("audits", 20)
@json_option
@service_options
def command(recipe: str, machine: str, limit: int, as_json: bool) -> Exit:
    """List audits with their verdicts, the newest first.

    Example: detctl audits --recipe digits --limit 5
    """
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.lists import write_audits
    from detctl_cli.reporters.rows import audit_row

    with service() as coordinator:
        request = ListRequest(recipe=recipe, machine=machine, limit=limit)
        audits = [audit_row(info) for info in coordinator.audits(request)]
    if as_json:
        write_json({"schema": "detctl.audits/v1", "audits": audits})
    else:
        write_audits(audits, console())
    return Exit.IDENTICAL
