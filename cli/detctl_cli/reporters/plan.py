"""Writes the runs that an audit would start, for `--dry-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detctl_cli.output.clean import clean

if TYPE_CHECKING:
    from detctl_proto.v1.audits_pb2 import AuditPlan
    from rich.console import Console


def write_plan(plan: AuditPlan, recipe: str, out: Console) -> None:
    """Writes a line with totals, then one line for each run in the order of execution."""
    machines = sorted({clean(run.machine) for run in plan.runs})
    out.print(f"{len(plan.runs)} runs of {clean(recipe)} on {', '.join(machines)}; nothing was started", soft_wrap=True)
    for run in plan.runs:
        out.print(f"  {clean(run.label)}", soft_wrap=True)
    for warning in plan.warnings:
        out.print(f"warning: {clean(warning)}", style="yellow", soft_wrap=True)
