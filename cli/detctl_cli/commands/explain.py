"""detctl explain AUDIT"""

from __future__ import annotations

import rich_click as click

from detctl_cli.commands.options import configured, json_option, service_options, verbose_option
from detctl_cli.exits import Exit


@click.command("explain", short_help="Confirm the causes of an audit by experiment.")
@click.argument("audit", metavar="AUDIT")
@click.option(
    "--wait", "wait_s", metavar="SECONDS", type=click.FloatRange(0), default=60.0, show_default=True,
    help="How long to keep trying while the coordinator is away.",
)  # fmt: skip
@verbose_option
@json_option
@service_options
def command(audit: str, wait_s: float, verbose: bool, as_json: bool) -> Exit:
    """Run an audit's arms again with settings made equal, and say which of them part the runs.

    Two runs with everything equal, then two for each setting in which the arms differ. Runs that the audit has are used as they are; after
    Ctrl-C the same command goes on where it was.

    Example: detctl explain 4c1f9e22
    """
    from detctl_cli.audit_flow import finish

    with configured() as coordinator:
        coordinator.explain(audit)
        return finish(coordinator, audit, wait_s, as_json, verbose)
