"""detctl compare --machines A,B; detctl compare RUN_A RUN_B; detctl compare DIR_A DIR_B"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from detctl_cli.commands.options import html_option, json_option, names, service, service_options, verbose_option
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit
from detctl_cli.local.checkpoints import compare_checkpoints, is_checkpoint

if TYPE_CHECKING:
    from detctl_cli.reporters.verdict import Form


@click.command("compare", short_help="Compare what exists: runs of machines or by id, two folders, two checkpoints.")
@click.argument("things", metavar="[RUN RUN... | DIR DIR... | CKPT CKPT]", nargs=-1)
@click.option("--machines", metavar="A,B", help="The latest runs that these machines share.")
@click.option("--recipe", metavar="NAME", default="", help="With --machines: runs of this recipe.")
@click.option("--audit", "audit_id", metavar="ID", default="", help="Runs of this audit.")
@click.option(
    "--python", metavar="PROGRAM", help="For checkpoints: an interpreter that has torch; default: python on PATH."
)
@click.option(
    "--allow-class",
    "allowed",
    metavar="MODULE.CLASS",
    multiple=True,
    help="For checkpoints: a class that a torch.save file may hold; give it for files that you trust.",
)
@html_option
@verbose_option
@json_option
@service_options
def command(
    things: tuple[str, ...],
    machines: str | None,
    recipe: str,
    audit_id: str,
    python: str | None,
    allowed: tuple[str, ...],
    html: Path | None,
    verbose: bool,
    as_json: bool,
) -> Exit:
    """Compare runs that exist, and say where, why and from which origin they part.

    Folders are those of `detctl record`; they need no service. Neither do checkpoints: files of torch.save and
    safetensors, and folders of torch.distributed.checkpoint or of safetensors shards, compared by content.

    Examples: detctl compare --machines gpu1,gpu2 --recipe digits

    detctl compare check1 check2

    detctl compare monday/last.ckpt tuesday/last.ckpt
    """
    from detctl_cli.reporters.verdict import Form

    form = Form(as_json, verbose, html)
    chosen = names(machines)
    if machines is not None and len(chosen) < 1:
        raise UsageError("--machines names no machine")
    if recipe and audit_id:
        raise UsageError("--recipe and --audit exclude each other", "an audit has one recipe")
    if things:
        if chosen or recipe or audit_id:
            raise UsageError("runs or folders do not go with --machines, --recipe or --audit")
        if len(things) < 2:
            raise UsageError(f"one thing to compare ({things[0]})", "name two runs, two folders or two checkpoints")
        if any(is_checkpoint(Path(thing)) for thing in things):
            _check_checkpoints(things)
            if html is not None:
                raise UsageError("--html shows verdicts of runs, not checkpoints", "--json goes with both")
            return compare_checkpoints(things, python, allowed, as_json=as_json)
        return _compare_things(things, form)
    if not chosen and not audit_id:
        raise UsageError("say what to compare: --machines A,B, --audit ID, two runs or two folders")
    if chosen and len(chosen) < 2 and not audit_id:
        raise UsageError(f"--machines names one machine ({chosen[0]})", "name two; twins of one: --audit ID")
    from detctl_proto.v1.audits_pb2 import CompareRequest

    from detctl_cli.reporters.verdict import parse_verdict, report_verdict

    with service() as coordinator:
        text = coordinator.compare(CompareRequest(machines=chosen, recipe=recipe, audit_id=audit_id))
    return report_verdict(parse_verdict(text), form)


def _check_checkpoints(things: Sequence[str]) -> None:
    if len(things) > 2:
        raise UsageError(f"{len(things)} checkpoints", "compare two at a time")
    for thing in things:
        path = Path(thing)
        if not path.exists():
            raise CliError("not-found", f"{thing}: no such checkpoint")
        if not is_checkpoint(path):
            what = "a recording" if (path / "run.json").exists() else "neither a checkpoint nor a recording"
            raise UsageError(f"{thing} is {what}, and the other one is a checkpoint", "compare two of a kind")
    if _same_folder(*things):
        raise UsageError(f"{things[0]} is named twice", "a checkpoint is always identical to itself")


def _compare_things(things: Sequence[str], form: Form) -> Exit:
    from detctl_cli.reporters.verdict import parse_verdict, report_verdict

    folders = [Path(thing) for thing in things]
    for number, thing in enumerate(things):
        if any(thing == other or _same_folder(thing, other) for other in things[:number]):
            raise UsageError(f"{thing} is named twice", "a run is always identical to itself")
    named_folders = [thing for thing, folder in zip(things, folders, strict=True) if _means_a_folder(thing, folder)]
    if named_folders:
        for thing, folder in zip(things, folders, strict=True):
            if thing not in named_folders:
                text = f"{thing} is no folder, and {named_folders[0]} is one"
                raise UsageError(text, "compare two folders or two runs")
            if not folder.is_dir():
                from detctl_cli.recordings.folder import open_recording

                open_recording(folder)  # says what is wrong with it
        return _compare_folders(folders, form)
    from detctl_proto.v1.audits_pb2 import CompareRequest

    try:
        with service() as coordinator:
            text = coordinator.compare(CompareRequest(run_ids=things))
    except CliError as problem:
        if problem.code == "configuration":
            raise CliError(
                "not-found",
                f"{things[0]}: no such folder, and {problem.message} to look for a run of that name",
                problem.hint,
            ) from None
        raise
    return report_verdict(parse_verdict(text), form)


def _compare_folders(folders: Sequence[Path], form: Form) -> Exit:
    from detctl_cli.local.session import temporary_store
    from detctl_cli.recordings.folder import open_recording
    from detctl_cli.recordings.send import compare_recordings, with_folders
    from detctl_cli.reporters.verdict import parse_verdict, report_verdict

    recordings = [open_recording(folder) for folder in folders]
    with temporary_store() as coordinator:
        verdict = parse_verdict(compare_recordings(coordinator, recordings))
    return report_verdict(with_folders(verdict, recordings), form)


def _same_folder(thing: str, other: str) -> bool:
    """Also by another spelling or through a link."""
    try:
        return Path(thing).samefile(other)
    except OSError:
        return False


def _means_a_folder(thing: str, folder: Path) -> bool:
    """Ids never hold a slash nor begin with a dot or a tilde."""
    return folder.exists() or "/" in thing or thing.startswith((".", "~"))
