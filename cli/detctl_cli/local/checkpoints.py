"""Recognises checkpoints, and compares two of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detctl_proto.files.regular_file import RegularFileError, open_regular

from detctl_cli.errors import CliError
from detctl_cli.exits import Exit, exit_of_verdict

if TYPE_CHECKING:
    from detctl_cli.reporters.verdict import Form

ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".distcp")


def is_checkpoint(path: Path) -> bool:
    """Returns whether a path is a file, or a folder that contains checkpoints and not a recording."""
    if path.is_file():
        return True
    if not path.is_dir() or (path / "run.json").exists():
        return False
    try:
        if (path / ".metadata").exists():
            return True
        with os.scandir(path) as entries:
            return any(Path(entry.name).suffix in ENDINGS for entry in entries)
    except OSError:
        return False


def compare_checkpoints(things: Sequence[str], python: str | None, allowed: Sequence[str], form: Form) -> Exit:
    """Compares two checkpoints and reports the result. Raises CliError."""
    from detctl_cli.output.terminal import console, note, write_json
    from detctl_cli.progress.progress import Progress
    from detctl_cli.reporters.checkpoints import write_checkpoints

    stage = "comparing tensors"
    with Progress(quiet=form.quiet) as progress:
        progress.short_stage(stage)
        document = checkpoints_document(things, python, allowed, lambda done, of: progress.short_stage(stage, done, of))
    if form.as_json:
        write_json(document)
    else:
        write_checkpoints(document, console())
    if form.html is not None:
        from detctl_cli.reporters.verdict_html import write_page

        write_page(_with_digests(document, things), form.html)
        note(f"the comparison was written to {form.html}")
    return exit_of_verdict(document)


def _with_digests(document: dict[str, Any], things: Sequence[str]) -> dict[str, Any]:
    """Returns the document with the SHA-256 of each checkpoint that is one file, and when it was written."""
    facts: dict[str, Any] = {}
    for side, thing in zip(("a", "b"), things, strict=True):
        try:
            with open_regular(Path(thing), None) as stream:
                digest = file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a binary file has readinto
                facts[side] = {"sha256": digest, "changed_unix_s": os.fstat(stream.fileno()).st_mtime}
        except (RegularFileError, OSError):
            facts[side] = {}  # a folder has no digest of its own
    return {**document, **{side: {**document[side], **found} for side, found in facts.items()}}


def checkpoints_document(
    things: Sequence[str],
    python: str | None,
    allowed: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Returns detctl.checkpoints/v1 of two paths, which are named as the user named them. Raises CliError."""
    from detctl_cli.local.torch_child import run_module

    places = [str(Path(thing).absolute()) for thing in things]
    arguments = [*(word for name in allowed for word in ("--allow-class", name)), "--", *places]

    def as_named(text: str) -> str:
        for place, thing in sorted(zip(places, things, strict=True), key=lambda pair: -len(pair[0])):
            text = text.replace(place, thing)
        return text

    try:
        document = run_module("detctl_checkpoints", arguments, python, progress, imports_from_here=bool(allowed))
    except CliError as problem:
        raise CliError(problem.code, as_named(problem.message), problem.hint, problem.exit_code) from None
    for side, thing in zip(("a", "b"), things, strict=True):
        document[side]["path"] = thing
    document["notes"] = [as_named(text) for text in document["notes"]]
    document["unread"] = [{**row, "why": as_named(row["why"])} for row in document["unread"]]
    return document
