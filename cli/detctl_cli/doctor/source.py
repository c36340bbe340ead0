"""Parses a script and the local modules that it imports."""

from __future__ import annotations

import ast
import os
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from detctl_proto.files.regular_file import RegularFileError, read_regular
from detctl_proto.outside_json import writable
from detctl_proto.syntax.source.module import Module

from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean

FILES_MAX = 500
BYTES_MAX = 4 * 1024 * 1024
LEVELS_MAX = 64  # dots and names of one import


@dataclass(frozen=True)
class Unread:
    """A file that is not checked. line 0: the whole file."""

    shown: str
    line: int
    why: str
    code: str = "system"

    @property
    def text(self) -> str:
        """Returns one line for an error message."""
        return f"{self.shown}{f':{self.line}' if self.line else ''}: {self.why}"


@dataclass(frozen=True)
class Program:
    """A script (the first module) and the local modules that it imports. unread: imported files that could not be read."""

    modules: tuple[Module, ...]
    called: frozenset[str] = field(default_factory=frozenset)
    unread: tuple[Unread, ...] = ()

    @property
    def script(self) -> Module:
        return self.modules[0]


def load_program(script: Path) -> Program:
    """Parses a script and its local imports. Raises CliError with file and line if the script itself cannot be read or parsed."""
    if script.is_dir() or not _exists(script):
        what = "this is a folder" if script.is_dir() else "there is no such file"
        raise CliError(
            "not-found", f"{writable(str(script))}: {what}", "name a Python script, as in detctl doctor train.py"
        )
    modules: list[Module] = []
    unread: list[Unread] = []
    first = _read(script)
    if isinstance(first, Unread):
        hint = "doctor reads Python 3 sources" if first.code == "syntax" else ""
        raise CliError(first.code, first.text, hint)
    met = {os.path.realpath(script)}
    waiting = deque(_imports_of(first, script.parent))
    modules.append(first)
    while waiting:
        path = waiting.popleft()
        key = os.path.realpath(path)
        if key in met:
            continue
        met.add(key)
        if len(met) > FILES_MAX:
            unread.append(Unread(str(script), 0, f"it imports more than {FILES_MAX} files; the others are not checked"))
            break
        found = _read(path)
        if isinstance(found, Unread):
            unread.append(found)
            continue
        modules.append(found)
        waiting += _imports_of(found, script.parent)
    called = frozenset(name for module in modules for _, name in module.calls() if name)
    return Program(tuple(modules), called, tuple(unread))


def parse_text(text: str, shown: str = "train.py") -> Module:
    """Returns the module of a text. Raises CliError with the line of a syntax error."""
    found = parse_source(text, Path(shown), shown)
    if isinstance(found, Unread):
        raise CliError(found.code, found.text, "doctor reads Python 3 sources")
    return found


def parse_source(source: str | bytes, path: Path, shown: str) -> Module | Unread:
    """Returns the parsed module. Bytes are decoded by their coding line. All errors that a source can cause are caught here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a `\\d` in a user's source is not a message of doctor
            tree = ast.parse(source, shown)
    except (SyntaxError, ValueError, LookupError) as problem:
        # ValueError: NUL characters, lone surrogates, bytes that do not fit the coding line. LookupError: an unknown coding.
        line = getattr(problem, "lineno", None) or 0
        message = getattr(problem, "msg", None) or str(problem)
        return Unread(shown, line, clean(message), "syntax")
    except (RecursionError, MemoryError):
        return Unread(shown, 0, "the code is nested too deeply to be parsed", "syntax")
    return Module(path, shown, tree)


def _read(path: Path) -> Module | Unread:
    shown = writable(str(path))
    try:
        source = read_regular(path, BYTES_MAX, follow=True)
    except RegularFileError as problem:
        return Unread(shown, 0, problem.strerror or str(problem))
    return parse_source(source, path, shown)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)  # a broken link exists too; read_regular reports the problem


def _imports_of(module: Module, root: Path) -> Iterator[Path]:
    """Yields existing files next to the script or the module that an import names, also those that are not regular files."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield from _files_of(root, item.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = root
            for level in range(min(node.level, LEVELS_MAX)):
                base = base.parent if level else module.path.parent
            parts = node.module.split(".") if node.module else []
            yield from _files_of(base, parts)
            for item in node.names:
                yield from _files_of(base, [*parts, item.name])


def _files_of(base: Path, parts: list[str]) -> Iterator[Path]:
    for end in range(1, min(len(parts), LEVELS_MAX) + 1):
        place = base.joinpath(*parts[:end])
        for candidate in (place.with_name(place.name + ".py"), place / "__init__.py"):
            if _exists(candidate) and not candidate.is_dir():
                yield candidate
