"""One parsed file of a program, with names resolved through its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """One parsed file. shown: its path in messages."""

    path: Path
    shown: str
    tree: ast.Module

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Returns local name -> dotted name for all imports of the file: {"np": "numpy", "ls": "os.listdir"}."""
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
        """Returns whether two expressions are the same text, read or assigned. No recursion: a chain may have thousands of names."""
        return _shape(one) == _shape(other)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Returns node -> its parent node."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def dotted(self, node: ast.AST) -> str:
        """Returns `numpy.random.seed` for np.random.seed, and an empty text if the node is not a name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.aliases.get(node.id, node.id))
        return ".".join(reversed(parts))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Yields every call with its dotted name (empty if it has none), in the order of the source."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        for node in sorted(found, key=lambda call: (call.lineno, call.col_offset)):
            yield node, self.dotted(node.func)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yields the nodes around `node`, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def scope(self, node: ast.AST) -> ast.AST:
        """Returns the function or module around `node`."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)
        return next((outer for outer in self.ancestors(node) if isinstance(outer, kinds)), self.tree)

    def imports(self, package: str) -> int:
        """Returns the line of the first import of `package` or of something in it, and 0 if there is none."""
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
    """Returns kinds and names of an expression's nodes by level. They are equal for equal expressions."""
    return [
        (type(inner), *(repr(getattr(inner, name)) for name in ("id", "attr", "value") if _is_leaf(inner, name)))
        for inner in ast.walk(node)
        if not isinstance(inner, ast.expr_context)
    ]


def _is_leaf(node: ast.AST, name: str) -> bool:
    return hasattr(node, name) and not isinstance(getattr(node, name), ast.AST)
