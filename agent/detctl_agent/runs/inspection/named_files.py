"""Finds the data files that the source or the command of a training names and that the probe did not see it open: code in C, such as
the readers of safetensors, Arrow and HDF5, may have read them.

A name is a text in the source, or a word of the command, that is the path of a file or folder in the working folder. Folders among the
arguments are searched too. What the run wrote, and the whole folder around it, is left out.
"""

from __future__ import annotations

import ast
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detctl_agent.recording.observed import Observed, OpenedFile

WORKING_FOLDER = "cwd"
FILES_MAX = 500
BYTES_MAX = 1024**3  # of all of them
NAMES_MAX = 2000
VISITED_MAX = 20_000  # of one folder
TIME_MAX_S = 3.0
CODE = (".py", ".pyc", ".sh", ".so")


@dataclass(frozen=True)
class NamedFile:
    """named: file and line of the source that names it; empty: the command does."""

    file: OpenedFile
    named: Mapping[str, Any]


def named_files(
    observed: Observed,
    texts: Mapping[str, str],
    command: Sequence[str],
    places: Mapping[str, str],
    started_ns: int,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, NamedFile]:
    """Returns logical name -> the file. texts: logical name of a source -> its text. places: name -> path, as the probe has them.
    started_ns: when the training started."""
    found: dict[str, NamedFile] = {}
    left, end = BYTES_MAX, clock() + TIME_MAX_S
    for base, path, named in _starts(texts, command, places):
        for name, file in _files_at(path, started_ns, lambda: clock() < end):
            shown = "/".join(part for part in (base, name) if part)
            if shown in observed.files or shown in found or file.bytes > left or len(found) >= FILES_MAX:
                continue
            left -= file.bytes
            found[shown] = NamedFile(file, named)
    return found


def _starts(
    texts: Mapping[str, str], command: Sequence[str], places: Mapping[str, str]
) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    """Yields logical name, path, and where it is named, of each file or folder to look at."""
    arguments: dict[str, Mapping[str, Any]] = {
        value: {} for word in command for value in (word, word.partition("=")[2]) if value
    }
    names = {**_names_in(texts), **arguments}
    if (working := places.get(WORKING_FOLDER)) is not None:
        for name, named in names.items():
            inner = os.path.normpath(name)
            if inner != "." and not inner.startswith(("/", "..")):
                yield f"{{{WORKING_FOLDER}}}/{inner}", Path(working, inner), named
    for place, text in places.items():
        if place.startswith("arg"):
            yield f"{{{place}}}", Path(text), {}


def _names_in(texts: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Returns the texts in sources that may be paths, with the first line of each."""
    found: dict[str, Mapping[str, Any]] = {}
    for site, text in texts.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text, site)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(found) < NAMES_MAX:
                value = node.value
                if 0 < len(value) < 256 and "\n" not in value and "\0" not in value:
                    found.setdefault(value, {"file": site, "line": node.lineno})
    return found


def _files_at(start: Path, started_ns: int, in_time: Callable[[], bool]) -> Iterator[tuple[str, OpenedFile]]:
    """Yields the data files at a path that are older than the run, with their names below it; none if the run wrote there."""
    try:
        candidates = [("", start)] if start.is_file() else list(_below(start, in_time))
        states = [(name, path.stat()) for name, path in candidates]
    except OSError:
        return
    if any(state.st_mtime_ns >= started_ns for _, state in states):
        return
    for name, state in states:
        if not (name or start.name).endswith(CODE):
            yield name, OpenedFile(state.st_size, state.st_mtime_ns)


def _below(folder: Path, in_time: Callable[[], bool]) -> Iterator[tuple[str, Path]]:
    visited = 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(files):
            path = Path(parent, name)
            visited += 1
            if visited > VISITED_MAX or not in_time():
                return
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path
