"""detctl explain AUDIT"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click
from detctl_proto.limits import EXPERIMENTS_DEFAULT

from detctl_cli.audits.options import Experiments, Waiting
from detctl_cli.commands.options import VerdictOutput, configured, service_options
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_audit
from detctl_cli.option_groups import option_groups
from detctl_cli.output.clean import clean

if TYPE_CHECKING:
    from detctl_cli.progress.progress import Progress
    from detctl_cli.service.client import Coordinator


@click.command("explain", short_help="Confirm the causes of an audit by experiment.")
@click.argument("audit", metavar="AUDIT", shell_complete=complete_audit)
@option_groups(experiments=Experiments, waiting=Waiting, output=VerdictOutput)
@service_options
def command(audit: str, experiments: Experiments, waiting: Waiting, output: VerdictOutput) -> Exit:
    """Find out by experiment which settings make the runs of an audit diverge. AUDIT is the id of the audit.

    detctl first makes all settings equal and reruns each configuration. Then it restores one setting at a time. A
    setting that alone makes the runs diverge is a confirmed cause. Existing runs are reused. After Ctrl-C, the same
    command continues. For an audit of a command, run this in its folder or below.

    Example: detctl explain 4c1f9e22
    """
    from detctl_proto.v1 import audits_pb2

    from detctl_cli.audits.flow import finish
    from detctl_cli.progress.progress import Progress

    # An audit that went on to confirm within a time budget has a smaller budget of its own.
    budget = experiments.budget_runs or EXPERIMENTS_DEFAULT
    request = audits_pb2.ExplainRequest(audit_id=audit, budget_runs=budget, self_test=experiments.self_test)
    with Progress(quiet=output.quiet) as progress, _coordinator_of(audit, progress) as coordinator:
        progress.short_stage("planning the experiments")
        coordinator.explain(request)
        return finish(coordinator, audit, waiting.wait_s, output.form(), progress=progress)


@contextmanager
def _coordinator_of(audit: str, progress: Progress) -> Iterator[Coordinator]:
    """Yields the coordinator that can run experiments for the audit: one with an agent of its own for a local audit."""
    import os

    from detctl_cli.local.kept_audits import kept
    from detctl_cli.local.session import local_machine

    found = kept(audit)
    if found is not None:
        environ = found.environ(os.environ)
        with local_machine(found.catalog, place=found.place, report=progress.stage, environ=environ) as (
            coordinator,
            _,
        ):
            yield coordinator
        return
    hint = (
        f"no audit of a command in this folder has the id {clean(audit)}, or its command contains a credential, which detctl"
        " does not keep; detctl audits lists the ids, and detctl audit --explain -- COMMAND explains at once"
    )
    with configured(hint) as coordinator:
        yield coordinator
