"""A script and the local modules that it imports, parsed, with names resolved through their imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from detctl_cli.errors import CliError

FILES_MAX = 500
BYTES_MAX = 4 * 1024 * 1024


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


@dataclass(frozen=True)
class Program:
    """A script (first) and what it imports from beside itself."""

    modules: tuple[Module, ...]
    called: frozenset[str] = field(default_factory=frozenset)

    @property
    def script(self) -> Module:
        return self.modules[0]


def load_program(script: Path) -> Program:
    """Parses a script and its local imports. Raises CliError with file and line where it cannot be read or parsed."""
    if not script.is_file():
        what = "is a folder" if script.is_dir() else "no such file"
        raise CliError("not-found", f"{script}: {what}", "name a Python script: detctl doctor train.py")
    root = script.parent
    modules: dict[Path, Module] = {}
    waiting = [script]
    while waiting and len(modules) < FILES_MAX:
        path = waiting.pop(0)
        key = path.resolve()
        if key in modules:
            continue
        modules[key] = module = _parse(path)
        waiting += _local_imports(module, root)
    found = tuple(modules.values())
    return Program(found, frozenset(name for module in found for _, name in module.calls() if name))


def parse_text(text: str, shown: str = "train.py") -> Module:
    """A module from its text. Raises CliError with the line of a syntax error."""
    try:
        return Module(Path(shown), shown, ast.parse(text, shown))
    except (SyntaxError, ValueError) as problem:
        line = getattr(problem, "lineno", None) or 0
        message = getattr(problem, "msg", None) or str(problem)
        raise CliError("syntax", f"{shown}:{line}: {message}", "doctor reads Python 3 sources") from None


def _parse(path: Path) -> Module:
    import tokenize

    try:
        if path.stat().st_size > BYTES_MAX:
            raise CliError("limit", f"{path}: larger than {BYTES_MAX // 2**20} MiB")
        with tokenize.open(path) as stream:  # obeys a coding line
            text = stream.read()
    except SyntaxError as problem:
        raise CliError("syntax", f"{path}:1: {problem}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise CliError("system", f"{path}: cannot be read: {problem}") from None
    return Module(path, str(path), parse_text(text, str(path)).tree)


def _local_imports(module: Module, root: Path) -> Iterator[Path]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield from _files_of(root, item.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = root
            for _ in range(node.level):
                base = module.path.parent if base is root else base.parent
            parts = node.module.split(".") if node.module else []
            yield from _files_of(base, parts)
            for item in node.names:
                yield from _files_of(base, [*parts, item.name])


def _files_of(base: Path, parts: list[str]) -> Iterator[Path]:
    for end in range(1, len(parts) + 1):
        place = base.joinpath(*parts[:end])
        for candidate in (place.with_name(place.name + ".py"), place / "__init__.py"):
            if candidate.is_file():
                yield candidate
