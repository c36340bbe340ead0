"""detctl explain AUDIT"""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from detctl_cli.commands.options import (
    configured,
    experiment_options,
    html_option,
    json_option,
    service_options,
    verbose_option,
    wait_option,
)
from detctl_cli.exits import Exit


@click.command("explain", short_help="Confirm the causes of an audit by experiment.")
@click.argument("audit", metavar="AUDIT")
@experiment_options
@wait_option
@html_option
@verbose_option
@json_option
@service_options
def command(
    audit: str, budget_runs: int | None, self_test: bool, wait_s: float, html: Path | None, verbose: bool, as_json: bool
) -> Exit:
    """Run an audit's arms again with settings made equal, and say which of them part the runs.

    First everything is made equal, then each setting in which the arms differ is released by itself. Runs that the audit has are used as
    they are; after Ctrl-C the same command goes on where it was.

    Example: detctl explain 4c1f9e22
    """
    from detctl_proto.v1 import audits_pb2

    from detctl_cli.audits.flow import finish
    from detctl_cli.reporters.verdict import Form

    with configured("an audit of a command after -- ends with it: detctl audit --explain -- …") as coordinator:
        coordinator.explain(
            audits_pb2.ExplainRequest(audit_id=audit, budget_runs=budget_runs or 0, self_test=self_test)
        )
        return finish(coordinator, audit, wait_s, Form(as_json, verbose, html))
