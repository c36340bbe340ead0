"""Reports the verdict that the coordinator sent, as JSON or as text, and returns its exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detctl_proto.outside_json import JsonError, parse_object
from detctl_proto.security.redaction import redact_document

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit, exit_of_verdict
from detctl_cli.output.terminal import abandon_stdout, console, note, write_json


def parse_verdict(text: str) -> dict[str, Any]:
    """Returns the verdict as a mapping. Raises CliError if the coordinator sent something else."""
    try:
        verdict = parse_object(text, "the coordinator's verdict", sys.maxsize, repair=True)
    except JsonError as problem:
        raise CliError("coordinator", str(problem), "update detctl and the coordinator to the same version") from None
    if not str(verdict.get("schema", "")).startswith("detctl.verdict/"):
        raise CliError(
            "coordinator",
            f"the coordinator's verdict has the schema {verdict.get('schema')!r}, not detctl.verdict",
            "update detctl and the coordinator to the same version",
        )
    return verdict


@dataclass(frozen=True)
class Form:
    """How a verdict is shown. verbose: with what no run of this version observes; html: also as a page, in this file.
    quiet: without progress."""

    as_json: bool = False
    verbose: bool = False
    html: Path | None = None
    quiet: bool = False


def report_verdict(verdict: dict[str, Any], form: Form, next_steps: Sequence[str] = ()) -> Exit:
    """Prints the verdict on stdout and returns its exit code. Raises CliError if the page cannot be written."""
    from detctl_cli.output.differing_bytes import with_first_bytes

    verdict = redact_document(
        with_first_bytes(verdict)
    )  # an earlier version or an older coordinator may have left credentials in it
    try:
        if form.as_json:
            write_json(verdict)
        else:
            from detctl_cli.reporters.verdict_text import write_verdict

            write_verdict(verdict, console(), next_steps, verbose=form.verbose)
            if timings := verdict.get("timings"):
                from detctl_cli.reporters.timings import write_timings

                write_timings(timings, console())
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # rich exits on a broken pipe. How soon a reader goes away must not change the exit code.
        abandon_stdout()
    if form.html is not None:
        from detctl_cli.reporters.verdict_html import write_page

        write_page(verdict, form.html)
        note(f"the verdict was written to {form.html}")
    return exit_of_verdict(verdict)
