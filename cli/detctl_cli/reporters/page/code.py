"""Excerpts of the user's code around the lines that a verdict names, with the fix as a diff against them.

Files are read only below the folder in which the command runs, because a verdict may come from another machine: it must not decide which
files of this one get onto a page.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from detctl_proto.files.regular_file import RegularFileError, read_regular
from detctl_proto.security.redaction import redact_output
from detctl_proto.syntax.source.edits import Fix
from detctl_proto.syntax.source.fixes import fix_of
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.sets import Sets
from detctl_proto.syntax.source.statements import lines_of

from detctl_cli.output.clean import clean

AROUND = 5
FILE_BYTES_MAX = 1 << 20
LINE_CHARS = 240
EXCERPTS_MAX = 8
CWD = "{cwd}/"
_PLACE = re.compile(r"(?P<file>[^\0]+?):(?P<line>[0-9]{1,7})\Z")

Match = Literal["same", "changed", "differs", "unknown"]
# How the file on disk relates to the recorded one -> the note on the page.
NOTES: Mapping[Match, str] = {
    "same": "",
    "changed": "This file has changed since the runs: its digest is not the recorded one. The lines may be others.",
    "differs": "The runs had different versions of this file. This is the one in the current folder.",
    "unknown": "No digest of this file was recorded, so it may have changed since the runs.",
}


@dataclass(frozen=True)
class Row:
    """One line of code. `sign`: blank, `-` (to be removed) or `+` (to be added); `number` None: the line is new."""

    sign: str
    number: int | None
    text: str
    named: bool = False


@dataclass(frozen=True)
class Excerpt:
    """Lines around `file:line`. `rows` empty: the file is not here. `applied`: whether `rows` contain the fix as a diff."""

    file: str
    line: int
    match: Match
    rows: tuple[Row, ...] = ()
    applied: bool = False

    @property
    def note(self) -> str:
        if not self.rows:
            return "This file is not in the current folder, so its code is not shown."
        return NOTES[self.match]


def excerpts_of(verdict: Mapping[str, Any], folder: Path) -> list[tuple[str, Excerpt]]:
    """Returns (place as in the verdict, excerpt) for each place in the user's code that the verdict names, at most EXCERPTS_MAX."""
    sources = verdict.get("sources")
    found: dict[str, Excerpt] = {}
    for place, cause in _places(verdict):
        if place in found or len(found) == EXCERPTS_MAX:
            continue
        matched = _PLACE.match(place)
        if matched is not None:
            known = sources if isinstance(sources, Mapping) else {}
            found[place] = _excerpt(matched["file"], int(matched["line"]), known, cause, folder)
    return list(found.items())


def _places(verdict: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (place, its cause): the place that a fix changes, then the places of clues and of the first operation that differs."""
    causes = [cause for cause in verdict.get("causes") or [] if isinstance(cause, Mapping)]
    for cause in causes:
        if isinstance(place := cause.get("fix_at"), str):
            yield place, cause
    for cause in causes:
        for clue in cause.get("clues") or []:
            if isinstance(clue, Mapping) and clue.get("file") and clue.get("line"):
                yield f"{clue['file']}:{clue['line']}", cause
    zoom = verdict.get("zoom")
    for place in (zoom.get("at") or []) if isinstance(zoom, Mapping) else []:
        if isinstance(place, str):
            yield place, {}


def _excerpt(name: str, line: int, sources: Mapping[str, Any], cause: Mapping[str, Any], folder: Path) -> Excerpt:
    shown = clean(name.removeprefix(CWD))
    content = _read(name, folder)
    if content is None:
        return Excerpt(shown, line, "unknown")
    match = _match(content, sources.get(name) or sources.get(CWD + name) or sources.get(name.removeprefix(CWD)))
    text = content.decode("utf-8", "replace")
    lines = lines_of(text)
    if not 1 <= line <= len(lines):
        return Excerpt(shown, line, match)
    fix = _fix(text, line, str(cause.get("cause")), shown) if match != "changed" else None
    return Excerpt(shown, line, match, tuple(_rows(lines, line, fix)), applied=fix is not None)


def _read(name: str, folder: Path) -> bytes | None:
    """Returns the content of a Python file below `folder`; None if it is elsewhere or cannot be read."""
    try:
        folder = folder.resolve()
        path = (folder / name.removeprefix(CWD)).resolve()
        if path.suffix != ".py" or not path.is_relative_to(folder):
            return None
        return read_regular(path, FILE_BYTES_MAX)
    except (RegularFileError, OSError, ValueError, RuntimeError):
        return None


def _match(content: bytes, digests: object) -> Match:
    if not isinstance(digests, list) or not digests:
        return "unknown"
    if len(digests) > 1:
        return "differs"
    return "same" if blake2b(content, digest_size=16).hexdigest() == digests[0] else "changed"


def _fix(text: str, line: int, cause: str, shown: str) -> Fix | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = Module(Path(shown), shown, ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return fix_of(cause, Sets([module]), module, text, line)


def _rows(lines: Sequence[str], line: int, fix: Fix | None) -> list[Row]:
    """Returns the lines around `line` and those that the fix replaces, these before their replacements."""
    first, last = max(1, line - AROUND), min(len(lines), line + AROUND)
    start, end, added = _replaced(fix) if fix is not None else (first, first, ())
    shown = range(min(first, start), max(last, end - 1) + 1)
    before = [_row("-" if at >= start else " ", at, lines[at - 1], named=at == line) for at in shown if at < end]
    after = [_row(" ", at, lines[at - 1], named=at == line) for at in shown if at >= end]
    return [*before, *(_row("+", None, text) for text in added), *after]


def _replaced(fix: Fix) -> tuple[int, int, tuple[str, ...]]:
    """Returns the first line that a fix replaces, the line after the last, and the new lines. Lines that stay do not count."""
    old, new = fix.old, fix.new
    shorter, head, tail = min(len(old), len(new)), 0, 0
    while head < shorter and old[head] == new[head]:
        head += 1
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    imports = (f"import {name}" for name in fix.imports)
    return fix.line + head, fix.end_line + 1 - tail, (*imports, *new[head : len(new) - tail])


def _row(sign: str, number: int | None, text: str, *, named: bool = False) -> Row:
    shown = clean(redact_output(text.expandtabs(4).rstrip()))
    return Row(sign, number, shown if len(shown) <= LINE_CHARS else shown[: LINE_CHARS - 1] + "…", named)
