"""detctl audits"""

from __future__ import annotations

import rich_click as click
from detctl_proto.verdict_words import EXIT_CODES

from detctl_cli.commands.options import json_option, limit_option, note_if_more, service, service_options, time_options
from detctl_cli.exits import Exit


@click.command("audits", short_help="List audits and their verdicts.")
@click.option("--recipe", metavar="NAME", default="", help="List only audits of this recipe.")
@click.option("--machine", metavar="NAME", default="", help="List only audits that use this machine.")
@click.option(
    "--outcome",
    metavar="OUTCOME",
    type=click.Choice(tuple(EXIT_CODES)),
    help=f"List only audits with this outcome: {', '.join(EXIT_CODES)}.",
)
@time_options("audits")
@limit_option("audits", 20)
@json_option
@service_options
def command(
    recipe: str,
    machine: str,
    outcome: str | None,
    since_unix_s: float,
    until_unix_s: float,
    limit: int,
    as_json: bool,
) -> Exit:
    """List audits with their verdicts, the newest first.

    \b
    Examples:
      detctl audits --recipe digits --limit 5
      detctl audits --since 2d --outcome different
    """
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.lists import write_audits
    from detctl_cli.reporters.rows import audit_row

    with service() as coordinator:
        request = ListRequest(recipe=recipe, machine=machine, limit=limit, outcome=outcome or "")
        request.since_unix_s, request.until_unix_s = since_unix_s, until_unix_s
        found = coordinator.audits(request)
    audits = [audit_row(info) for info in found.audits]
    if as_json:
        write_json({"schema": "detctl.audits/v1", "audits": audits})
    else:
        filtered = bool(recipe or machine or outcome or since_unix_s or until_unix_s)
        write_audits(audits, console(), filtered=filtered)
    note_if_more(found.more, len(audits), "audits")
    return Exit.IDENTICAL
