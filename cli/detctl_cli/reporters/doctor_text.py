"""Writes the findings of `detctl doctor` as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from detctl_cli.output.clean import clean

if TYPE_CHECKING:
    from rich.console import Console

    from detctl_cli.doctor.finding import Finding

_STYLE = {"warn": "bold yellow", "info": "cyan", "ok": "green"}


def write_findings(findings: Sequence[Finding], files: Sequence[str], out: Console) -> None:
    """Writes a row for each finding (level, place, what, and below it why and the fix), and a line with totals."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    places = any(finding.place for finding in findings)
    if places:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        text = Text(clean(finding.what), style="" if finding.level == "ok" else "bold")
        if finding.why:
            text.append(f"\n{clean(finding.why)}", style="not bold")
        if finding.fix and finding.level != "ok":
            text.append(f"\nfix: {clean(finding.fix)}", style="not bold green")
        cells = [
            Text(finding.level, style=_STYLE[finding.level]),
            *([Text(clean(finding.place))] if places else []),
            text,
        ]
        table.add_row(*cells)
    out.print(table)
    warnings = sum(finding.level == "warn" for finding in findings)
    read = f"{len(files)} file{'s' if len(files) != 1 else ''} read, " if files else ""
    out.print(f"\n{read}{warnings} warning{'s' if warnings != 1 else ''}")
