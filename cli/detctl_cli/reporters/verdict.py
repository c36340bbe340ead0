"""The verdict as the coordinator sent it: as JSON or for people, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit, exit_of_verdict
from detctl_cli.terminal import console, write_json


def parse_verdict(text: str) -> dict[str, Any]:
    """The verdict as a mapping. Raises CliError where the coordinator sent something else."""
    try:
        verdict = json.loads(text)
    except ValueError:
        verdict = None
    if not isinstance(verdict, dict) or not str(verdict.get("schema", "")).startswith("detctl.verdict/"):
        raise CliError("coordinator", "the coordinator's verdict is no detctl.verdict", "update detctl")
    return verdict


def report_verdict(verdict: dict[str, Any], *, as_json: bool, next_steps: Sequence[str] = ()) -> Exit:
    """Prints the verdict on stdout and returns its exit code."""
    if as_json:
        write_json(verdict)
    else:
        from detctl_cli.reporters.verdict_text import print_verdict

        print_verdict(verdict, console(), next_steps)
    return exit_of_verdict(verdict)
