"""detctl runs, detctl runs delete"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import (
    json_option,
    limit_option,
    note_if_more,
    service,
    service_options,
    settings,
    time_options,
)
from detctl_cli.errors import UsageError
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_audit


@click.group("runs", cls=click.RichGroup, invoke_without_command=True, short_help="List runs or delete them.")
@click.option(
    "--audit", "audit_id", metavar="ID", default="", help="List only runs of this audit.", shell_complete=complete_audit
)
@click.option("--recipe", metavar="NAME", default="", help="List only runs of this recipe.")
@click.option("--machine", metavar="NAME", default="", help="List only runs on this machine.")
@time_options("runs")
@limit_option("runs", 50)
@json_option
@service_options
@click.pass_context
def command(
    ctx: click.Context,
    audit_id: str,
    recipe: str,
    machine: str,
    since_unix_s: float,
    until_unix_s: float,
    limit: int,
    as_json: bool,
) -> Exit:
    """List runs, the newest first. `detctl runs delete` deletes runs and their data.

    Example: detctl runs --machine gpu1 --limit 10
    """
    if ctx.invoked_subcommand is not None:
        return Exit.IDENTICAL
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.lists import write_runs
    from detctl_cli.reporters.rows import run_row

    with service() as coordinator:
        request = ListRequest(audit_id=audit_id, recipe=recipe, machine=machine, limit=limit)
        request.since_unix_s, request.until_unix_s = since_unix_s, until_unix_s
        found = coordinator.runs(request)
    runs = [run_row(info) for info in found.runs]
    if as_json:
        write_json({"schema": "detctl.runs/v1", "runs": runs})
    else:
        filtered = bool(audit_id or recipe or machine or since_unix_s or until_unix_s)
        write_runs(runs, console(), filtered=filtered)
    note_if_more(found.more, len(runs), "runs")
    return Exit.IDENTICAL


@command.command("delete", short_help="Delete runs and their data.")
@click.argument("run_ids", metavar="[ID]...", nargs=-1)
@click.option("--audit", "audit_id", metavar="ID", default="", help="Delete all runs of this audit.")
@click.option("--older-than", metavar="AGE", help="Delete all runs that are older than AGE, such as 30d, 12h or 45m.")
@json_option
@service_options
def delete(run_ids: tuple[str, ...], audit_id: str, older_than: str | None, as_json: bool) -> Exit:
    """Delete runs and all their data. Select them by id, by audit or by age.

    Example: detctl runs delete --older-than 30d
    """
    from detctl_proto.v1.audits_pb2 import DeleteRequest, ListRequest

    from detctl_cli.local.kept_audits import forget
    from detctl_cli.output.clean import clean
    from detctl_cli.output.terminal import write_json
    from detctl_cli.output.times import seconds_of

    if sum((bool(run_ids), bool(audit_id), older_than is not None)) != 1:
        raise UsageError("give ids, --audit ID or --older-than AGE, and only one of them", "detctl runs lists the ids")
    try:
        older_than_s = seconds_of(older_than) if older_than is not None else 0.0
    except ValueError as problem:
        raise UsageError(f"--older-than: {problem}") from None
    with service() as coordinator:
        gone = coordinator.delete_runs(DeleteRequest(run_ids=run_ids, audit_id=audit_id, older_than_s=older_than_s))
        for audit in {run_id.rpartition(".")[0] for run_id in gone} if settings().config().coordinator is None else ():
            if not coordinator.runs(ListRequest(audit_id=audit, limit=1)).runs:
                forget(audit)
    if as_json:
        write_json({"schema": "detctl.deleted/v1", "runs": gone})
    else:
        for run_id in gone:
            click.echo(clean(run_id))
        if not gone:
            click.echo("there is nothing to delete", err=True)
    return Exit.IDENTICAL
