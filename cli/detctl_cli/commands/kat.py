"""detctl kat [FILE …]"""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from detctl_cli.commands.options import json_option
from detctl_cli.exits import Exit


@click.command("kat", short_help="Known-answer test: does this machine compute what others do?")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--python", metavar="PYTHON", help="The interpreter that has torch; default: python, else our own.")
@json_option
def command(files: tuple[Path, ...], python: str | None, as_json: bool) -> Exit:
    """Compute sums, products, convolutions and random numbers of inputs that are the same everywhere, and compare the answers.

    Without FILE the answers of this machine are printed; --json makes a file of them. With files, this machine is left out and those
    are sorted into classes of equal answers.

    Examples: detctl kat --json > gpu1.json

    detctl kat gpu1.json gpu2.json
    """
    from detctl_cli.local.known_answers import asked, compared, read
    from detctl_cli.output.terminal import console, write_json
    from detctl_cli.reporters.known_answers import print_answers, print_classes

    if not files:
        document = asked(python)
        if as_json:
            write_json(document)
        else:
            print_answers(document, console())
        return Exit.IDENTICAL
    result = compared({str(path): read(path) for path in files})
    if as_json:
        write_json(result)
    else:
        print_classes(result, console())
    return Exit.IDENTICAL if len(result["classes"]) == 1 else Exit.DIFFERENT
