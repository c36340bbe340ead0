"""detctl cancel AUDIT"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import json_option, service, service_options
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_audit

ACTIVE = ("running", "comparing")


@click.command("cancel", short_help="Cancel an audit that is running.")
@click.argument("audit", metavar="AUDIT", shell_complete=complete_audit)
@json_option
@service_options
def command(audit: str, as_json: bool) -> Exit:
    """Cancel an audit and end its runs. AUDIT is the id of the audit. Runs that have ended keep their data.

    Without a coordinator, this cancels an audit of a command that runs in this folder.

    Example: detctl cancel 4c1f9e22
    """
    from detctl_cli.output.clean import clean
    from detctl_cli.output.terminal import write_json

    with service() as coordinator:
        before = coordinator.state_of(audit)
        coordinator.cancel(audit)
        state = coordinator.state_of(audit) if before in ACTIVE else before
    if as_json:
        write_json({"schema": "detctl.cancelled/v1", "audit": audit, "was": before, "state": state})
    elif before in ACTIVE:
        click.echo(f"audit {clean(audit)} was cancelled")
    else:
        click.echo(f"audit {clean(audit)} had already ended ({clean(state)}); nothing was changed")
    return Exit.IDENTICAL
