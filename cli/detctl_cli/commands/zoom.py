"""detctl zoom DIR DIR [--from CKPT] [-- EXTRA]"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import rich_click as click
from detctl_proto.files.private_files import make_private_folder
from detctl_proto.interventions import VALUES
from detctl_proto.levels import LEVELS
from detctl_proto.security.redaction import MARK

from detctl_cli.commands.options import DashCommand, TerminalOutput, command_after_dashes
from detctl_cli.errors import CliError, UsageError
from detctl_cli.exits import Exit
from detctl_cli.local.command_check import check_command
from detctl_cli.local.places import refuse_full
from detctl_cli.option_groups import option, option_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detctl_cli.recordings.folder import Recording
    from detctl_cli.recordings.replay import FactNotSet, Replay

STEPS_FROM_CHECKPOINT = 16
FACTS_SHOWN = 6
OPERATIONS = "op"
COMPUTED = ("forward", "loss", "backward", "update")
VALUE_SHOWN = 32


@dataclass(frozen=True)
class WhatToReplay:
    """Where the two trainings start again, and for how long."""

    PANEL: ClassVar[str] = "What to replay"
    checkpoints: tuple[Path, ...] = option(
        "--from",
        metavar="CKPT",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Resume from this checkpoint. Give --from twice to name the checkpoint folders of both trainings: detctl"
        " then resumes from the last checkpoint that is identical in both.",
    )
    steps: int | None = option(
        "--steps",
        metavar="N",
        type=click.IntRange(1, 1000),
        help="Number of steps to replay. The default is 1, or 16 after a checkpoint.",
    )
    level: str = option(
        "--level",
        metavar="LEVEL",
        type=click.Choice(LEVELS),
        default="op",
        show_default=True,
        help="Level of detail of the new recordings: step, module or op.",
    )


@dataclass(frozen=True)
class Place:
    """Where the new recordings go, and which interpreter reads checkpoints."""

    PANEL: ClassVar[str] = "Where"
    output: Path | None = option(
        "-o", "--output", metavar="DIR", type=click.Path(path_type=Path), help="Keep the new recordings in DIR."
    )
    python: str | None = option(
        "--python", metavar="PROGRAM", help="Python interpreter that has torch, which reads the checkpoints."
    )


class ZoomCommand(DashCommand):
    """A command whose words after `--` are arguments of the training."""

    after_dashes = "ARGUMENT..."


@click.command("zoom", cls=ZoomCommand, short_help="Replay two recordings where they diverge, and name the operation.")
@click.argument("folders", metavar="DIR DIR", nargs=2, type=click.Path(path_type=Path))
@option_groups(replay=WhatToReplay, place=Place, output=TerminalOutput)
def command(folders: tuple[Path, Path], replay: WhatToReplay, place: Place, output: TerminalOutput) -> Exit:
    """Rerun the commands of two recordings on this machine at the step where they diverge, and name the operation.

    Each command runs in a private view of its recorded folder, with the interpreter, variables and interventions of
    its recording. What it writes is discarded. Values of secrets are not recorded and cannot be set. If the
    difference does not come back, detctl lists the facts that it could not set, and the exit code is 3. If the
    recordings are identical, nothing is replayed.

    With --from, the trainings resume from a checkpoint. detctl appends what follows `--` to both commands, and replaces
    `{from}` in it by the path of the checkpoint. Steps are then counted from the checkpoint.

    \b
    Examples:
      detctl zoom check1 check2
      detctl zoom check1 check2 --from runs/a --from runs/b -- --resume {from}
    """
    from detctl_cli.output.terminal import note
    from detctl_cli.recordings.folder import open_recording
    from detctl_cli.reporters.verdict import report_verdict

    extra = command_after_dashes() or []
    show = (lambda text: None) if output.quiet else note
    _check_fits(replay, extra)
    refuse_full(place.output)
    recordings = [open_recording(folder) for folder in folders]
    replays = [_replay_of(recording) for recording in recordings]
    recorded = _compare(recordings, output.quiet)
    first = recorded.get("first_divergence")
    if replay.checkpoints:
        chosen = _checkpoint(replay.checkpoints, place.python)
        extra = [word.replace("{from}", str(chosen.resolve())) for word in extra]
        window = (0, replay.steps or STEPS_FROM_CHECKPOINT)
        show(f"replaying {window[1]} steps from {chosen} at level {replay.level}")
    elif first is None:
        if recorded.get("outcome") == "identical":
            show("the two recordings are identical; nothing is replayed")
        return report_verdict({**recorded, "replayed": False}, output.form())
    else:
        start = max(int(first["step"]), *(cause["step"] for cause in recorded["causes"][:1]), 0)
        window = (start, start + (replay.steps or 1))
        count = window[1] - window[0]
        show(
            f"the recordings diverge at step {start}; replaying {count} step{'s' * (count > 1)} at level {replay.level}"
        )
    with tempfile.TemporaryDirectory(prefix="detctl") as scratch:
        parent = (place.output or Path(scratch)).absolute()
        again = [
            _replay(recording, how, parent / name, window, replay.level, extra, output.quiet, _values_of(recorded))
            for recording, how, name in zip(recordings, replays, ("a", "b"), strict=True)
        ]
        verdict = _compare(again, output.quiet)
        could_not_set: list[FactNotSet] = []
        not_reproduced = first is not None and verdict.get("first_divergence") is None
        if not_reproduced:
            could_not_set = _could_not_set(recordings, again, replays, output.quiet)
        if place.output is None:  # they do not exist any more when somebody reads the verdict
            names = verdict.pop("folders").values()
            reasons = verdict.get("unverified_because") or []
            for name, recording in zip(names, recordings, strict=False):
                reasons = [str(text).replace(name, f"the replay of {recording.folder}") for text in reasons]
            verdict["unverified_because"] = reasons
    verdict |= {
        "replayed": True,
        "not_reproduced": not_reproduced,
        "could_not_set": [fact.to_dict() for fact in could_not_set],
    }
    if not_reproduced:
        verdict |= {"outcome": "unverified", "recorded_divergence": first}
        verdict["unverified_because"] = [
            not_reproduced_text(could_not_set),
            *(verdict.get("unverified_because") or []),
        ]
    return report_verdict(verdict, output.form())


def _check_fits(replay: WhatToReplay, extra: list[str]) -> None:
    if extra and not replay.checkpoints:
        raise UsageError("arguments after -- go with --from CKPT", "detctl zoom A B --from CKPT -- --resume {from}")
    if replay.checkpoints and not any("{from}" in word for word in extra):
        raise UsageError(
            "--from is given, but not how the script resumes",
            "add its option after --, with {from} for the path: -- --resume {from}",
        )
    if len(replay.checkpoints) > 2:
        raise UsageError(
            f"--from is given {len(replay.checkpoints)} times", "give it once, or twice with a folder of each training"
        )


def _replay_of(recording: Recording) -> Replay:
    """Returns how to repeat a recording. Raises CliError if its command cannot be run here."""
    import os

    from detctl_cli.recordings.replay import replay_of

    typed = recording.run.get("command")
    if not isinstance(typed, list) or not typed or not all(isinstance(word, str) for word in typed):
        raise CliError("damaged", f"{recording.folder}: run.json does not contain a command", "record it again")
    if any(MARK.search(word) for word in typed):
        text = f"{recording.folder}: its command contains a credential, which was not recorded"
        raise CliError("not-recorded", text, "pass the credential in a variable or a file, and record again")
    replay = replay_of(recording, os.environ, Path.cwd())
    scripts = (word for word in typed[1:] if word.endswith(".py"))
    missing = next((word for word in scripts if not (replay.folder / word).exists()), None)
    if missing is not None:
        where = f"{recording.folder}: its script {missing} is not in this folder"
        raise CliError("not-found", where, "run detctl zoom in the folder in which it was recorded")
    check_command(typed, replay.folder)
    return replay


def _checkpoint(given: tuple[Path, ...], python: str | None) -> Path:
    """Returns the named checkpoint, or the newest that both folders have with the same name and content. Raises CliError."""
    for path in given:
        if not path.exists():
            raise CliError("not-found", f"--from {path}: there is no such file or folder", "name a checkpoint")
    if len(given) == 1:
        return given[0]
    from detctl_cli.local.checkpoints import checkpoints_document, is_checkpoint
    from detctl_cli.output.terminal import note

    ours, theirs = given
    if not (ours.is_dir() and theirs.is_dir()):
        raise UsageError("--from is given twice, but not with two folders", "name two folders, or one checkpoint")
    names = [one for one in ours.iterdir() if is_checkpoint(one) and (theirs / one.name).exists()]
    for one in sorted(names, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            outcome = checkpoints_document([str(one), str(theirs / one.name)], python)["outcome"]
        except CliError as problem:
            if problem.code != "checkpoint":
                raise
            outcome = problem.message  # a training that was killed may have written half of its last checkpoint
        if outcome == "identical":
            return one
        note(f"{one.name}: {outcome}")
    raise CliError(
        "not-found",
        f"{ours} and {theirs} have no identical checkpoint",
        "leave --from out to replay from the start",
    )


def _replay(
    recording: Recording,
    replay: Replay,
    folder: Path,
    window: tuple[int, int],
    level: str,
    extra: list[str],
    quiet: bool,
    values: str,
) -> Recording:
    """Returns a new recording of a command, made in a private view of its folder. Raises CliError if recording failed."""
    import sys

    from detctl_cli.recordings.capture import CaptureOptions, capture
    from detctl_cli.recordings.folder import open_recording

    # Values stay in the recordings that this command makes, so that their difference can be measured.
    interventions = {**replay.interventions, **({VALUES: values} if level == OPERATIONS else {})}
    options = CaptureOptions(
        steps=f"{window[0]}:{window[1]}",
        level=level,
        copy=True,
        machine=recording.run.get("machine"),
        set_=tuple(f"{name}={value}" for name, value in interventions.items()),
        cwd=replay.folder,
        environ=replay.environ,
        quiet=quiet,
    )
    make_private_folder(folder.parent)
    result = capture(folder, [*replay.command, *extra], options, stdout=sys.stderr.fileno())
    if result.exit_code is not Exit.IDENTICAL:
        raise CliError(
            "unverified", f"the replay of {recording.folder} cannot be used: {result.because}", "", result.exit_code
        )
    return open_recording(folder)


def _values_of(recorded: Mapping[str, Any]) -> str:
    """Returns the stages of which values are kept: the one in which the recordings diverge, or all that compute after the data."""
    stages = [str(cause.get("stage")) for cause in recorded.get("causes") or []]
    found = next((stage for stage in stages if stage in COMPUTED), "")
    return found or "+".join(COMPUTED)


def _could_not_set(
    recordings: list[Recording], again: list[Recording], replays: Sequence[Replay], quiet: bool
) -> list[FactNotSet]:
    """Returns the facts of the recordings that their replays did not have."""
    from detctl_cli.recordings.labels import labels_of
    from detctl_cli.recordings.replay import facts_that_differ

    labels = labels_of([*recordings, *again])
    pairs = dict(zip(labels[:2], labels[2:], strict=True))
    folders = {label: str(recording.folder) for label, recording in zip(labels[:2], recordings, strict=True)}
    environment = _compare([*recordings, *again], quiet).get("environment")
    known = [fact for replay in replays for fact in replay.could_not_set]
    names = {(fact.recording, fact.fact) for fact in known}
    more = facts_that_differ(environment, folders, pairs)
    return known + [fact for fact in more if (fact.recording, fact.fact) not in names]


def not_reproduced_text(facts: Sequence[FactNotSet]) -> str:
    """Returns the sentences about a difference that did not come back. Facts of both recordings are named once."""
    text = "The difference did not reproduce here."
    names = list(dict.fromkeys(fact.fact for fact in facts))
    if not names:
        return f"{text} All recorded facts were set: the difference may come from chance or from something that is not recorded."
    more = f" and {len(names) - FACTS_SHOWN} more (--json lists them)" if len(names) > FACTS_SHOWN else ""
    shown = ", ".join(_described(name, facts) for name in names[:FACTS_SHOWN])
    return f"{text} These facts of the recordings could not be set: {shown}{more}."


def _described(name: str, facts: Sequence[FactNotSet]) -> str:
    parts = [
        f"{fact.recording}: {_shortened(fact.recorded)}, here {_shortened(fact.here)}"
        for fact in facts
        if fact.fact == name
    ]
    shown = "digest of the source" if name == "recipe.source_digest" else name.removeprefix("variables.")
    return f"{shown} ({'; '.join(parts)})"


def _shortened(value: str) -> str:
    return value if 0 < len(value) <= VALUE_SHOWN else f"{value[: VALUE_SHOWN - 1]}…" if value else "not set"


def _compare(recordings: list[Recording], quiet: bool) -> dict[str, Any]:
    from detctl_cli.local.session import temporary_store
    from detctl_cli.progress.progress import Progress
    from detctl_cli.recordings.send import compare_recordings, with_folders
    from detctl_cli.reporters.verdict import parse_verdict

    with Progress(quiet=quiet) as progress, temporary_store(progress.stage) as coordinator:
        text = compare_recordings(coordinator, recordings, progress.short_stage)
        return with_folders(parse_verdict(text), recordings)
