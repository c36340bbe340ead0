"""detctl log"""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click
from detctl_proto.limits import LIST_MAX

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit


@click.command("log", short_help="Who asked for what on which machine, and how it ended.")
@click.option("--audit", "audit_id", metavar="ID", default="", help="Only this audit.")
@click.option("--machine", metavar="NAME", default="", help="Only this machine.")
@click.option("--before", metavar="N", type=click.IntRange(1), default=None, help="Only entries below number N.")
@click.option(
    "--limit", type=click.IntRange(1, LIST_MAX), default=50, show_default=True, help="At most so many, newest."
)
@json_option
@service_options
def command(audit_id: str, machine: str, before: int | None, limit: int, as_json: bool) -> Exit:
    """Show the log, the newest entry first. It is only ever appended to.

    Example: detctl log --machine gpu1 --limit 20
    """
    from detctl_proto.redaction import redact_document
    from detctl_proto.v1.admin_pb2 import LogRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters import lists

    with service() as coordinator:
        entries = coordinator.log(LogRequest(audit_id=audit_id, machine=machine, before=before or 0, limit=limit))
    rows = [
        {
            "number": one.number, "at_unix_s": one.at_unix_s, "who": one.who, "event": one.event, "audit": one.audit_id,
            "machine": one.machine, "text": one.text, "detail": _detail(one.detail_json),
        }
        for one in entries
    ]  # fmt: skip
    rows = redact_document(rows)  # entries of an earlier version hold parameters as they were asked
    if as_json:
        write_json({"schema": "detctl.log/v1", "entries": rows})
    else:
        lists.print_log(rows, console())
    return Exit.IDENTICAL


def _detail(text: str) -> dict[str, Any]:
    """Of an entry; one that cannot be read says so, and the others are shown."""
    from detctl_proto.outside_json import JsonError, parse_object

    try:
        return parse_object(text or "{}", "its detail", sys.maxsize, repair=True)
    except JsonError as problem:
        return {"unreadable": str(problem)}
