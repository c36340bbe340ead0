"""A script and the local modules that it imports, parsed, with names resolved through their imports."""

from __future__ import annotations

import ast
import os
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from detctl_proto.outside_json import writable
from detctl_proto.regular_file import RegularFileError, read_regular

from detctl_cli.errors import CliError
from detctl_cli.output.clean import clean

FILES_MAX = 500
BYTES_MAX = 4 * 1024 * 1024
LEVELS_MAX = 64  # dots and names of one import


@dataclass(frozen=True)
class Module:
    """One parsed file; `shown` is its path as messages name it."""

    path: Path
    shown: str
    tree: ast.Module

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Local name -> dotted name, from every import of the file: {"np": "numpy", "ls": "os.listdir"}."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for item in node.names:
                    found[item.asname or item.name.partition(".")[0]] = (
                        item.name if item.asname else item.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for item in node.names:
                    found[item.asname or item.name] = f"{node.module}.{item.name}"
        return found

    @staticmethod
    def same(one: ast.AST, other: ast.AST) -> bool:
        """Whether two expressions are written alike, stored to or read. No recursion: a chain of names may be thousands long."""
        return _shape(one) == _shape(other)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Node -> the node that holds it."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def dotted(self, node: ast.AST) -> str:
        """`numpy.random.seed` for np.random.seed; empty for what is no name; unknown heads stay as written."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.aliases.get(node.id, node.id))
        return ".".join(reversed(parts))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call with its dotted name (empty where it has none), in the order of the source."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        for node in sorted(found, key=lambda call: (call.lineno, call.col_offset)):
            yield node, self.dotted(node.func)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around `node`, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def scope(self, node: ast.AST) -> ast.AST:
        """The function, class or module around `node`."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
        return next((outer for outer in self.ancestors(node) if isinstance(outer, kinds)), self.tree)

    def imports(self, package: str) -> int:
        """Line of the first import of `package` or of something in it; 0 where there is none."""
        lines = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                named = [item.name for item in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                named = [node.module or ""]
            else:
                continue
            if any(name == package or name.startswith(f"{package}.") for name in named):
                lines.append(node.lineno)
        return min(lines, default=0)


def _shape(node: ast.AST) -> list[tuple[object, ...]]:
    """Kinds and names of an expression's nodes, level by level; equal for equal expressions."""
    return [
        (type(inner), *(repr(getattr(inner, name)) for name in ("id", "attr", "value") if _is_leaf(inner, name)))
        for inner in ast.walk(node)
        if not isinstance(inner, ast.expr_context)
    ]


def _is_leaf(node: ast.AST, name: str) -> bool:
    return hasattr(node, name) and not isinstance(getattr(node, name), ast.AST)


@dataclass(frozen=True)
class Unread:
    """A file that is not checked: what, where (line 0: the file as a whole), and why."""

    shown: str
    line: int
    why: str
    code: str = "system"

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.shown}{f':{self.line}' if self.line else ''}: {self.why}"


@dataclass(frozen=True)
class Program:
    """A script (first) and what it imports from beside itself; `unread`: imported files that could not be read."""

    modules: tuple[Module, ...]
    called: frozenset[str] = field(default_factory=frozenset)
    unread: tuple[Unread, ...] = ()

    @property
    def script(self) -> Module:
        return self.modules[0]


def load_program(script: Path) -> Program:
    """Parses a script and its local imports. Raises CliError with file and line where the script itself cannot be read or parsed."""
    if script.is_dir() or not _exists(script):
        what = "is a folder" if script.is_dir() else "no such file"
        raise CliError("not-found", f"{writable(str(script))}: {what}", "name a Python script: detctl doctor train.py")
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
            unread.append(Unread(str(script), 0, f"imports more than {FILES_MAX} files: the others are not checked"))
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
    """A module from its text. Raises CliError with the line of a syntax error."""
    found = parse_source(text, Path(shown), shown)
    if isinstance(found, Unread):
        raise CliError(found.code, found.text, "doctor reads Python 3 sources")
    return found


def parse_source(source: str | bytes, path: Path, shown: str) -> Module | Unread:
    """The parsed module; bytes obey a coding line, as Python reads them. The one guard against what a source can do to the parser."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a `\\d` in somebody's source is not a message of doctor
            tree = ast.parse(source, shown)
    except (SyntaxError, ValueError, LookupError) as problem:
        # ValueError: NUL characters, lone surrogates, bytes that are not what the coding line says; LookupError: a coding of no text.
        line = getattr(problem, "lineno", None) or 0
        message = getattr(problem, "msg", None) or str(problem)
        return Unread(shown, line, clean(message), "syntax")
    except (RecursionError, MemoryError):
        return Unread(shown, 0, "is nested too deep to be parsed", "syntax")
    return Module(path, shown, tree)


def _read(path: Path) -> Module | Unread:
    shown = writable(str(path))
    try:
        source = read_regular(path, BYTES_MAX, follow=True)
    except RegularFileError as problem:
        return Unread(shown, 0, problem.strerror or str(problem))
    return parse_source(source, path, shown)


def _exists(path: Path) -> bool:
    return os.path.lexists(path)  # a link that leads nowhere is there, and read_regular says what is wrong with it


def _imports_of(module: Module, root: Path) -> Iterator[Path]:
    """Files beside the script, or beside the module, that an import names. One that is there and no regular file is among them."""
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
