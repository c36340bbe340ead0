"""What a shell completes for ids: those of local audits and runs."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_audit(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Returns the ids of local audits that a shell may complete."""
    from detctl_cli.local.stored_ids import audit_ids

    return audit_ids(incomplete)


def complete_shown(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the ids of local audits, those of runs once a dot is typed, or folders if no id begins like this."""
    from detctl_cli.local.stored_ids import audit_ids, run_ids

    found = run_ids(incomplete) if "." in incomplete else audit_ids(incomplete)
    return [CompletionItem(one) for one in found] or [CompletionItem(incomplete, type="dir")]
