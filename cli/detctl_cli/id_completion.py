"""What a shell completes for ids of local audits and runs, and for the words of a command after `--`."""

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


def complete_compared(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Returns the ids of local runs once a dot is typed, or files and folders if no run's id begins like this."""
    from detctl_cli.local.stored_ids import run_ids

    found = run_ids(incomplete) if "." in incomplete else []
    return [CompletionItem(one) for one in found] or [CompletionItem(incomplete, type="file")]


def complete_command(before: list[str], incomplete: str) -> list[CompletionItem]:
    """Returns programs for the first word of a command that is not a path yet, and files for the others.

    before: the words of the command before the one that is completed."""
    from detctl_cli.local.command_check import programs

    found = sorted({name for name in programs() if name.startswith(incomplete)}) if not before and incomplete else []
    return [*map(CompletionItem, found), CompletionItem(incomplete, type="file")]
