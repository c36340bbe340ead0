"""detctl explain AUDIT"""

from __future__ import annotations

import rich_click as click

from detctl_cli.audits.options import Experiments, Waiting
from detctl_cli.commands.options import VerdictOutput, configured, service_options
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_audit
from detctl_cli.option_groups import option_groups


@click.command("explain", short_help="Confirm the causes of an audit by experiment.")
@click.argument("audit", metavar="AUDIT", shell_complete=complete_audit)
@option_groups(experiments=Experiments, waiting=Waiting, output=VerdictOutput)
@service_options
def command(audit: str, experiments: Experiments, waiting: Waiting, output: VerdictOutput) -> Exit:
    """Find out by experiment which settings make the runs of an audit diverge. AUDIT is the id of the audit.

    detctl first makes all settings equal and reruns each configuration. Then it restores one setting at a time. A
    setting that alone makes the runs diverge is a confirmed cause. Existing runs are reused. After Ctrl-C, the same
    command continues.

    Example: detctl explain 4c1f9e22
    """
    from detctl_proto.v1 import audits_pb2

    from detctl_cli.audits.flow import finish

    hint = "for a command, write detctl audit --explain -- …: its audit ends with the command"
    with configured(hint) as coordinator:
        coordinator.explain(
            audits_pb2.ExplainRequest(
                audit_id=audit, budget_runs=experiments.budget_runs or 0, self_test=experiments.self_test
            )
        )
        return finish(coordinator, audit, waiting.wait_s, output.form())
