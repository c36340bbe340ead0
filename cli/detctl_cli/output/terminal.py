"""Writes results to stdout, and progress and errors to stderr. Colours are used only on a terminal and without NO_COLOR."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console(stream: IO[str] | None = None) -> Console:
    """Returns a rich console on `stream` (default: stdout) without markup and highlighting. Piped text is not wrapped."""
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    width = None if stream.isatty() else 200
    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False, width=width)


def write_json(document: Any, stream: IO[str] | None = None) -> None:
    """Writes one JSON document: indented on a terminal, one line otherwise."""
    stream = sys.stdout if stream is None else stream
    indent = 2 if stream.isatty() else None
    stream.write(json.dumps(document, indent=indent, ensure_ascii=not _takes_unicode(stream)) + "\n")
    stream.flush()


def open_closed_streams() -> None:
    """Opens the null device for each standard stream that is closed (`>&-`). Otherwise the next opened file would replace it."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def abandon_stdout() -> None:
    """Sends stdout to the null device after its reader went away (`detctl runs | head -1`), so that the last flush succeeds."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def note(text: str) -> None:
    """Writes one line of progress to stderr, without credentials."""
    from detctl_proto.security.redaction import redact_text

    sys.stderr.write(f"detctl: {redact_text(text)}\n")
    sys.stderr.flush()


def stderr_is_a_file_in(folder: Path) -> bool:
    """Returns whether stderr is a file below `folder`. A line of progress would then change the source that is audited."""
    return _is_a_file_in(2, folder)


def stdout_is_a_file_in(folder: Path) -> bool:
    """Returns whether stdout is a file below `folder`. A verdict before the last run would change the source that is audited."""
    return _is_a_file_in(1, folder)


def _is_a_file_in(descriptor: int, folder: Path) -> bool:
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(folder.resolve())
    except OSError:
        return False


def _takes_unicode(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", "") or "").lower().replace("-", "") == "utf8"
