"""detctl log"""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

from detctl_cli.commands.options import json_option, limit_option, service, service_options
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_audit


@click.command("log", short_help="Show who requested what on which machine, and how it ended.")
@click.option(
    "--audit",
    "audit_id",
    metavar="ID",
    default="",
    help="Show only entries about this audit.",
    shell_complete=complete_audit,
)
@click.option("--machine", metavar="NAME", default="", help="Show only entries about this machine.")
@click.option(
    "--before", metavar="N", type=click.IntRange(1), default=None, help="Show only entries whose number is below N."
)
@limit_option("entries", 50)
@json_option
@service_options
def command(audit_id: str, machine: str, before: int | None, limit: int, as_json: bool) -> Exit:
    """Show who requested what on which machine and how it ended, the newest entry first. Entries are never changed.

    Example: detctl log --machine gpu1 --limit 20
    """
    from detctl_proto.security.redaction import redact_document
    from detctl_proto.v1.admin_pb2 import LogRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.lists import write_log

    with service() as coordinator:
        entries = coordinator.log(LogRequest(audit_id=audit_id, machine=machine, before=before or 0, limit=limit))
    rows = [
        {
            "number": one.number, "at_unix_s": one.at_unix_s, "who": one.who, "event": one.event, "audit": one.audit_id,
            "machine": one.machine, "text": one.text, "detail": _detail(one.detail_json),
        }
        for one in entries
    ]  # fmt: skip
    rows = redact_document(rows)  # entries of an earlier version contain parameters as they were requested
    if as_json:
        write_json({"schema": "detctl.log/v1", "entries": rows})
    else:
        write_log(rows, console())
    return Exit.IDENTICAL


def _detail(text: str) -> dict[str, Any]:
    """Returns the detail of an entry. One that cannot be read is replaced by the error, so that the others are shown."""
    from detctl_proto.outside_json import JsonError, parse_object

    try:
        return parse_object(text or "{}", "its detail", sys.maxsize, repair=True)
    except JsonError as problem:
        return {"unreadable": str(problem)}
