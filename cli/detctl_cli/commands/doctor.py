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


@click.command("doctor", short_help="Check a script and this environment for usual causes of divergence.")
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option(
    "--python",
    "python",
    metavar="PROGRAM",
    help="Python interpreter that trains. The default is the first python on PATH.",
)
@json_option
@service_options
def command(script: Path | None, python: str | None, as_json: bool) -> Exit:
    """Check a training script and this environment for usual causes of divergence.

    detctl reads SCRIPT and the local modules that it imports, but runs none of them. It checks seeds, directory
    listings, sets, workers and switches of torch, then environment variables, the interpreter and the coordinator.

    The exit code is 0 without warnings, 1 with warnings, and 2 if SCRIPT cannot be read. A module that cannot be read
    is a warning.

    \b
    Examples:
      detctl doctor
      detctl doctor train.py --python .venv/bin/python
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
        # A file that is not checked may contain anything, so it counts as a warning.
        findings += [
            Finding("warn", "unread-file", f"the file was not checked: {one.why}", file=one.shown, line=one.line)
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
        from detctl_cli.reporters.doctor_text import write_findings

        write_findings(findings, files, console())
    return Exit.DIFFERENT if warnings else Exit.IDENTICAL


def _environment(python: str | None) -> Iterator[Finding]:
    from detctl_cli.doctor.finding import Finding
    from detctl_cli.doctor.interpreter import check_interpreter, facts_of, find_python
    from detctl_cli.doctor.variables import check_variables

    program = find_python(python)
    has_cuda: bool | None = None
    if program is None:
        yield Finding("info", "library-version", "there is no python on PATH", "", "name one with --python")
    else:
        try:
            facts = facts_of(program)
        except CliError as problem:
            if python is not None:
                raise
            yield Finding("info", "library-version", problem.message, "", "name another one with --python")
        else:
            yield from check_interpreter(facts)
            torch = facts.get("torch")
            has_cuda = bool(torch.get("cuda")) if isinstance(torch, dict) else None
    yield from check_variables(os.environ, has_cuda=has_cuda)


def _coordinator() -> Iterator[Finding]:
    from detctl_cli.doctor.finding import Finding

    config = settings().config()
    if config.coordinator is None:
        yield Finding("ok", "service", "no coordinator is configured", "detctl audit -- COMMAND works without one")
        return
    from detctl_proto.v1.audits_pb2 import ListRequest

    from detctl_cli.service.client import Coordinator

    try:
        with Coordinator(config) as coordinator:
            machines = coordinator.machines(ListRequest())
    except CliError as problem:
        yield Finding("warn", "service", problem.message, f"{config.source} names it", problem.hint)
    else:
        here = sum(machine.connected for machine in machines)
        number = "1 machine is" if here == 1 else f"{here} machines are"
        yield Finding("ok", "service", f"the coordinator at {config.coordinator} answers", f"{number} connected")
