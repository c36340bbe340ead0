"""detctl zoom DIR DIR [--from CKPT] [-- EXTRA]"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from detctl_proto.levels import LEVELS
from detctl_proto.private_files import make_private_folder
from detctl_proto.redaction import MARK

from detctl_cli.commands.options import DashCommand, command_after_dashes, json_option, verbose_option
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit

if TYPE_CHECKING:
    from detctl_cli.recordings.folder import Recording

STEPS_FROM_CHECKPOINT = 16


@click.command("zoom", cls=DashCommand, short_help="Replay two recordings where they part, operation by operation.")
@click.argument("folders", metavar="DIR DIR", nargs=2, type=click.Path(path_type=Path))
@click.option(
    "--from",
    "checkpoints",
    metavar="CKPT",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Resume from this checkpoint; given twice, two folders of them: the last one that agrees in both.",
)
@click.option("--steps", metavar="N", type=click.IntRange(1, 1000), help="How many; 1, or 16 from a checkpoint.")
@click.option("--level", type=click.Choice(LEVELS), default="op", show_default=True, help="How fine.")
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Keep the new recordings here.")
@click.option("--python", metavar="PROGRAM", help="Reads checkpoints: an interpreter that has torch.")
@verbose_option
@json_option
def command(
    folders: tuple[Path, Path],
    checkpoints: tuple[Path, ...],
    steps: int | None,
    level: str,
    output: Path | None,
    python: str | None,
    verbose: bool,
    as_json: bool,
) -> Exit:
    """Train the commands of two recorded folders again, here, just where they part, and name the operation.

    With --from they resume from a checkpoint: what follows `--` is appended to both commands, and `{from}` in it is the
    checkpoint's path; steps then count from the resumed one.

    Examples: detctl zoom check1 check2

    detctl zoom check1 check2 --from runs/a --from runs/b --steps 16 -- --resume {from}
    """
    from detctl_cli.output.terminal import note
    from detctl_cli.recordings.folder import open_recording

    extra = command_after_dashes() or []
    if extra and not checkpoints:
        raise UsageError("what follows -- goes with --from CKPT", "detctl zoom A B --from CKPT -- --resume {from}")
    if checkpoints and not any("{from}" in word for word in extra):
        raise UsageError("say how the script resumes, with {from} for the path", "… --from CKPT -- --resume {from}")
    if len(checkpoints) > 2:
        raise UsageError(f"--from is given {len(checkpoints)} times", "once, or twice: a folder of each run")
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CliError("exists", f"{output} exists and is not empty", "choose another name; nothing was overwritten")
    recordings = [open_recording(folder) for folder in folders]
    for recording in recordings:
        _check_command(recording)
    if checkpoints:
        chosen = _checkpoint(checkpoints, python)
        extra = [word.replace("{from}", str(chosen.resolve())) for word in extra]
        window = (0, steps or STEPS_FROM_CHECKPOINT)
        note(f"replaying {window[1]} steps from {chosen} at level {level}")
    else:
        verdict = _compare(recordings)
        first = verdict.get("first_divergence")
        if first is None:
            return _report(verdict, as_json, verbose)
        start = max(int(first["step"]), *(cause["step"] for cause in verdict["causes"][:1]), 0)
        window = (start, start + (steps or 1))
        note(f"they part at step {start}: replaying {window[1] - window[0]} steps at level {level}")
    with tempfile.TemporaryDirectory(prefix="detctl") as scratch:
        place = output or Path(scratch)
        again = [_replay(r, place / name, window, level, extra) for r, name in zip(recordings, ("a", "b"), strict=True)]
        verdict = _compare(again)
        if output is None:
            verdict.pop("folders")  # gone when they are read of
        return _report(verdict, as_json, verbose)


def _check_command(recording: Recording) -> None:
    words = recording.run.get("command")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise CliError("damaged", f"{recording.folder}: run.json holds no command", "record it again")
    if any(MARK.search(word) for word in words):
        text = f"{recording.folder}: its command holds a credential, which was not recorded"
        raise CliError("not-recorded", text, "give it to the training in a variable or a file, and record again")
    missing = next((word for word in words[1:] if word.endswith(".py") and not Path(word).exists()), None)
    if missing is not None:
        where = f"{recording.folder}: its script {missing} is not in this folder"
        raise CliError("not-found", where, "run detctl zoom in the folder in which it was recorded")


def _checkpoint(given: tuple[Path, ...], python: str | None) -> Path:
    """The named one, or the last by time that two folders hold under one name with the same content. Raises CliError."""
    for path in given:
        if not path.exists():
            raise CliError("not-found", f"--from {path}: no such file or folder")
    if len(given) == 1:
        return given[0]
    from detctl_cli.local.checkpoints import checkpoints_document, is_checkpoint
    from detctl_cli.output.terminal import note

    ours, theirs = given
    if not (ours.is_dir() and theirs.is_dir()):
        raise UsageError("--from given twice names two folders of checkpoints", "or name one checkpoint")
    names = [one for one in ours.iterdir() if is_checkpoint(one) and (theirs / one.name).exists()]
    for one in sorted(names, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            outcome = checkpoints_document([str(one), str(theirs / one.name)], python)["outcome"]
        except CliError as problem:
            if problem.code != "checkpoint":
                raise
            outcome = problem.message  # a training that was killed leaves its last one half written
        if outcome == "identical":
            return one
        note(f"{one.name}: {outcome}")
    raise CliError(
        "not-found", f"no checkpoint of {ours} and {theirs} agrees", "replay from the start: leave --from out"
    )


def _replay(recording: Recording, folder: Path, window: tuple[int, int], level: str, extra: list[str]) -> Recording:
    """A new recording of a command, in copies of this folder. Raises CliError where it was not captured."""
    import sys

    from detctl_cli.recordings.capture import CaptureOptions, capture
    from detctl_cli.recordings.folder import open_recording

    options = CaptureOptions(
        steps=f"{window[0]}:{window[1]}", level=level, copy=True, machine=recording.run.get("machine")
    )
    make_private_folder(folder.parent)
    result = capture(folder, [*recording.run["command"], *extra], options, stdout=sys.stderr.fileno())
    if result.exit_code is not Exit.IDENTICAL:
        raise CliError("unverified", f"the replay of {recording.folder}: {result.because}", "", result.exit_code)
    return open_recording(folder)


def _compare(recordings: list[Recording]) -> dict[str, Any]:
    from detctl_cli.local.session import temporary_store
    from detctl_cli.recordings.send import compare_recordings, with_folders
    from detctl_cli.reporters.verdict import parse_verdict

    with temporary_store() as coordinator:
        return with_folders(parse_verdict(compare_recordings(coordinator, recordings)), recordings)


def _report(verdict: dict[str, Any], as_json: bool, verbose: bool) -> Exit:
    from detctl_cli.reporters.verdict import Form, report_verdict

    return report_verdict(verdict, Form(as_json, verbose))
