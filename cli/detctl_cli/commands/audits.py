"""detctl audits"""

from __future__ import annotations

import rich_click as click
from detctl_proto.limits import LIST_MAX

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit


@click.command("audits", short_help="List audits and their verdicts.")
@click.option("--recipe", metavar="NAME", default="", help="Only audits of this recipe.")
@click.option("--machine", metavar="NAME", default="", help="Only audits with this machine.")
@click.option(
    "--limit", type=click.IntRange(1, LIST_MAX), default=20, show_default=True, help="At most so many, newest."
)
@json_option
@service_options
def command(recipe: str, machine: str, limit: int, as_json: bool) -> Exit:
    """List audits, the newest first, with their verdicts.

    Example: detctl audits --recipe digits --limit 5
    """
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters import lists

    with service() as coordinator:
        request = ListRequest(recipe=recipe, machine=machine, limit=limit)
        audits = [lists.audit_row(info) for info in coordinator.audits(request)]
    if as_json:
        write_json({"schema": "detctl.audits/v1", "audits": audits})
    else:
        lists.print_audits(audits, console())
    return Exit.IDENTICAL
