"""detctl doctor [SCRIPT]"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from detctl_cli.commands.options import json_option, service_options, settings
from detctl_cli.errors import CliError
from detctl_cli.exits import Exit

if TYPE_CHECKING:
    from detctl_cli.doctor.finding import Finding


@click.command("doctor", short_help="Check a script and this environment for the usual reasons.")
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option("--python", "python", metavar="PROGRAM", help="The interpreter that trains; default: python on PATH.")
@json_option
@service_options
def command(script: Path | None, python: str | None, as_json: bool) -> Exit:
    """Check what people check by hand: seeds, listings, sets, workers and switches in a script, and the environment.

    Reads SCRIPT and the local modules that it imports; runs nothing of them. A module that cannot be read is a warning.
    Exits 0 without warnings, 1 with some, 2 where SCRIPT itself cannot be read.

    Example: detctl doctor train.py --python .venv/bin/python
    """
    from detctl_cli.doctor.finding import Finding, in_order
    from detctl_cli.output.terminal import console, write_json

    findings: list[Finding] = []
    files: list[str] = []
    if script is not None:
        from detctl_cli.doctor.rules import check_program
        from detctl_cli.doctor.source import load_program

        program = load_program(script)
        files = [module.shown for module in program.modules]
        findings += check_program(program)
        # What is not checked may hold anything: it counts as a warning.
        findings += [
            Finding("warn", "unread-file", f"not checked: {one.why}", file=one.shown, line=one.line)
            for one in program.unread
        ]
    findings += _environment(python)
    findings += _coordinator()
    findings = in_order(findings)
    warnings = sum(finding.level == "warn" for finding in findings)
    if as_json:
        document = {"files": files, "warnings": warnings, "findings": [finding.to_dict() for finding in findings]}
        write_json({"schema": "detctl.doctor/v1", **document})
    else:
        from detctl_cli.reporters.doctor_text import print_findings

        print_findings(findings, files, console())
    return Exit.DIFFERENT if warnings else Exit.IDENTICAL


def _environment(python: str | None) -> Iterator[Finding]:
    from detctl_cli.doctor.finding import Finding
    from detctl_cli.doctor.interpreter import ask_interpreter, check_interpreter, find_python
    from detctl_cli.doctor.variables import check_variables

    program = find_python(python)
    has_cuda: bool | None = None
    if program is None:
        yield Finding("info", "library-version", "no python on PATH to ask", "", "--python names one")
    else:
        try:
            facts = ask_interpreter(program)
        except CliError as problem:
            if python is not None:
                raise
            yield Finding("info", "library-version", problem.message, "", "--python names another")
        else:
            yield from check_interpreter(facts)
            torch = facts.get("torch")
            has_cuda = bool(torch.get("cuda")) if isinstance(torch, dict) else None
    yield from check_variables(os.environ, has_cuda=has_cuda)


def _coordinator() -> Iterator[Finding]:
    from detctl_cli.doctor.finding import Finding

    config = settings().config()
    if config.coordinator is None:
        yield Finding(
            "ok", "service", "no coordinator is configured", "audits of a command run here: detctl audit -- COMMAND"
        )
        return
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.service.client import Coordinator

    try:
        with Coordinator(config) as coordinator:
            machines = coordinator.machines(ListRequest())
    except CliError as problem:
        yield Finding("warn", "service", problem.message, f"named by {config.source}", problem.hint)
    else:
        here = sum(machine.connected for machine in machines)
        yield Finding(
            "ok", "service", f"the coordinator at {config.coordinator} answers", f"{here} machines are connected"
        )
