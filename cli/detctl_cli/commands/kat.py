"""detctl kat [FILE …], also called detctl selfcheck"""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from detctl_cli.commands.options import json_option
from detctl_cli.exits import Exit


@click.command("kat", aliases=["selfcheck"], short_help="Check that this machine computes the same as other machines.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--python",
    metavar="PROGRAM",
    help="Python interpreter that has torch. The default is the first python on PATH, then detctl's own.",
)
@json_option
def command(files: tuple[Path, ...], python: str | None, as_json: bool) -> Exit:
    """Run the known-answer test: compute sums, products, convolutions and random numbers from fixed inputs.

    Machines that compute the same have equal answers. Without FILE, the test runs on this machine and its answers are
    printed. With FILE, nothing runs: the answers in the files are compared, and machines with equal answers are listed
    as one class.

    \b
    Examples:
      detctl kat --json > gpu1.json
      detctl kat gpu1.json gpu2.json
    """
    from detctl_cli.local.known_answers import answer_here, compared, read
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.known_answers import write_answers, write_classes

    if not files:
        document = answer_here(python)
        if as_json:
            write_json(document)
        else:
            write_answers(document, console())
        return Exit.IDENTICAL
    result = compared({str(path): read(path) for path in files})
    if as_json:
        write_json(result)
    else:
        write_classes(result, console())
    return Exit.IDENTICAL if len(result["classes"]) == 1 else Exit.DIFFERENT
