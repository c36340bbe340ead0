"""detctl compare --machines A,B; detctl compare RUN_A RUN_B; detctl compare DIR_A DIR_B"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import rich_click as click

from detctl_cli.audits.options import Outcome, split_names
from detctl_cli.commands.options import VerdictOutput, service, service_options
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit
from detctl_cli.id_completion import complete_audit, complete_compared
from detctl_cli.local.checkpoints import compare_checkpoints, is_checkpoint
from detctl_cli.option_groups import option, option_groups

if TYPE_CHECKING:
    from detctl_cli.reporters.verdict import Form


@dataclass(frozen=True)
class StoredRuns:
    """Which of the runs that a coordinator has are compared."""

    PANEL: ClassVar[str] = "Runs of a coordinator"
    machines: list[str] = option(
        "--machines", metavar="A,B", callback=split_names, help="Compare the latest runs that these machines share."
    )
    recipe: str = option("--recipe", metavar="NAME", default="", help="With --machines: compare runs of this recipe.")
    audit_id: str = option(
        "--audit", metavar="ID", default="", help="Compare the runs of this audit.", shell_complete=complete_audit
    )


@dataclass(frozen=True)
class Checkpoints:
    """How checkpoints are read."""

    PANEL: ClassVar[str] = "Checkpoints"
    python: str | None = option(
        "--python",
        metavar="PROGRAM",
        help="Python interpreter that has torch. The default is the first python on PATH.",
    )
    allowed: tuple[str, ...] = option(
        "--allow-class",
        metavar="MODULE.CLASS",
        multiple=True,
        help="Class that a torch.save file may contain. Allow classes only for files that you trust.",
    )


@click.command("compare", short_help="Compare recordings, runs or checkpoints that exist.")
@click.argument("things", metavar="[RUN RUN... | DIR DIR... | CKPT CKPT]", nargs=-1, shell_complete=complete_compared)
@option_groups(stored=StoredRuns, checkpoints=Checkpoints, outcome=Outcome, output=VerdictOutput)
@service_options
def command(
    things: tuple[str, ...], stored: StoredRuns, checkpoints: Checkpoints, outcome: Outcome, output: VerdictOutput
) -> Exit:
    """Compare runs that exist, and report where, why and from which origin they diverge.

    RUN is the id of a run that a coordinator has. DIR is a folder that `detctl record` made. CKPT is a checkpoint: a
    file of torch.save or safetensors, or a folder of torch.distributed.checkpoint or of safetensors shards. Folders
    and checkpoints are compared on this machine, without a coordinator.

    \b
    Examples:
      detctl compare check1 check2
      detctl compare monday/last.ckpt tuesday/last.ckpt
      detctl compare --machines gpu1,gpu2 --recipe digits
    """
    if stored.recipe and stored.audit_id:
        raise UsageError("--recipe and --audit exclude each other", "leave --recipe out: an audit has one recipe")
    if not things:
        return _compare_stored(stored, outcome.strict, output.form())
    if stored.machines or stored.recipe or stored.audit_id:
        raise UsageError(
            "runs, folders or checkpoints do not go with --machines, --recipe or --audit", "leave these options out"
        )
    if len(things) < 2:
        raise UsageError(f"only {things[0]} is given", "name two runs, two folders or two checkpoints")
    if any(is_checkpoint(Path(thing)) for thing in things):
        _check_checkpoints(things)
        return compare_checkpoints(things, checkpoints.python, checkpoints.allowed, output.form())
    return _compare_things(things, outcome.strict, output.form())


def _compare_stored(stored: StoredRuns, strict: bool, form: Form) -> Exit:
    from detctl_proto.v1.audits_pb2 import CompareRequest

    from detctl_cli.progress.progress import Progress
    from detctl_cli.reporters.verdict import parse_verdict, report_verdict

    if not stored.machines and not stored.audit_id:
        raise UsageError("nothing to compare is given", "name --machines A,B, --audit ID, two runs or two folders")
    if len(stored.machines) == 1 and not stored.audit_id:
        raise UsageError(
            f"--machines names only one machine ({stored.machines[0]})", "name two; for twins of one use --audit ID"
        )
    with Progress(quiet=form.quiet) as progress, service(progress.stage) as coordinator:
        progress.short_stage("comparing the runs")
        request = CompareRequest(
            machines=stored.machines, recipe=stored.recipe, audit_id=stored.audit_id, strict=strict
        )
        text = coordinator.compare(request)
    return report_verdict(parse_verdict(text), form)


def _check_checkpoints(things: Sequence[str]) -> None:
    if len(things) > 2:
        raise UsageError(f"{len(things)} checkpoints are given", "compare two at a time")
    for thing in things:
        path = Path(thing)
        if not path.exists():
            raise CliError("not-found", f"{thing}: there is no such file or folder", "name two checkpoints")
        if not is_checkpoint(path):
            what = "a recording" if (path / "run.json").exists() else "neither a checkpoint nor a recording"
            raise UsageError(f"{thing} is {what}, but the other one is a checkpoint", "compare two of the same kind")
    if _same_folder(*things):
        raise UsageError(f"{things[0]} is named twice", "name two different checkpoints")


def _compare_things(things: Sequence[str], strict: bool, form: Form) -> Exit:
    from detctl_cli.progress.progress import Progress
    from detctl_cli.reporters.verdict import parse_verdict, report_verdict

    folders = [Path(thing) for thing in things]
    for number, thing in enumerate(things):
        if any(thing == other or _same_folder(thing, other) for other in things[:number]):
            raise UsageError(f"{thing} is named twice", "name two different runs")
    named_folders = [thing for thing, folder in zip(things, folders, strict=True) if _means_a_folder(thing, folder)]
    if named_folders:
        for thing, folder in zip(things, folders, strict=True):
            if thing not in named_folders:
                text = f"{thing} is not a folder, but {named_folders[0]} is"
                raise UsageError(text, "compare two folders or two runs")
            if not folder.is_dir():
                from detctl_cli.recordings.folder import open_recording

                open_recording(folder)  # its error names the problem
        return _compare_folders(folders, strict, form)
    from detctl_proto.v1.audits_pb2 import CompareRequest

    try:
        with Progress(quiet=form.quiet) as progress, service(progress.stage) as coordinator:
            progress.short_stage("comparing the runs")
            text = coordinator.compare(CompareRequest(run_ids=things, strict=strict))
    except CliError as problem:
        if problem.code == "configuration":
            raise CliError(
                "not-found",
                f"{things[0]}: there is no such folder, and {problem.message} that could have a run of that name",
                problem.hint,
            ) from None
        if problem.code == "not-found":
            raise CliError(
                "not-found", f"no file or folder has this name, and {problem.message}", problem.hint
            ) from None
        raise
    return report_verdict(parse_verdict(text), form)


def _compare_folders(folders: Sequence[Path], strict: bool, form: Form) -> Exit:
    from detctl_cli.local.session import temporary_store
    from detctl_cli.progress.progress import Progress
    from detctl_cli.recordings.folder import open_recording
    from detctl_cli.recordings.send import compare_recordings, with_folders
    from detctl_cli.reporters.verdict import parse_verdict, report_verdict

    recordings = [open_recording(folder) for folder in folders]
    with Progress(quiet=form.quiet) as progress, temporary_store(progress.stage) as coordinator:
        text = compare_recordings(coordinator, recordings, progress.short_stage, strict=strict)
        verdict = parse_verdict(text)
    return report_verdict(with_folders(verdict, recordings), form)


def _same_folder(thing: str, other: str) -> bool:
    """Returns whether two paths lead to the same folder, also through a link."""
    try:
        return Path(thing).samefile(other)
    except OSError:
        return False


def _means_a_folder(thing: str, folder: Path) -> bool:
    """Returns whether a word of the command line names a folder. Ids have no slash and start with a letter or digit."""
    return folder.exists() or "/" in thing or thing.startswith((".", "~"))
