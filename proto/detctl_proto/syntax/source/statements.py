"""Finds the statement at a line, and the lines and nodes that are its own. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from detctl_proto.syntax.source.bindings import FUNCTIONS
from detctl_proto.syntax.source.module import Module

_LINE_END = re.compile("\r\n|\r|\n")


def lines_of(source: str) -> list[str]:
    """Returns the lines of a source as Python counts them: a form feed, which str.splitlines counts, ends none."""
    return _LINE_END.split(source)


def statement_at(module: Module, line: int) -> ast.stmt | None:
    """Returns the innermost statement that covers a line; of a compound statement only its head counts."""
    found: ast.stmt | None = None
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.stmt) or not node.lineno <= line <= head_end(node):
            continue
        if found is None or (node.lineno, -head_end(node)) >= (found.lineno, -head_end(found)):
            found = node
    return found


def head_end(node: ast.stmt) -> int:
    """Returns the last line of a statement, or of its head if it has a body."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
        return max(node.lineno, body[0].lineno - 1) if body[0].lineno > node.lineno else node.lineno
    return node.end_lineno or node.lineno


def head_lines(source_lines: list[str], node: ast.stmt) -> tuple[int, int]:
    """Returns the first and last line of a statement's own text, without comments and blank lines below its head."""
    end = head_end(node)
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        while end > node.lineno and not source_lines[end - 1].split("#")[0].rstrip().endswith(":"):
            end -= 1
    return node.lineno, end


def own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yields the nodes of a statement without those of its body."""
    bodies = {
        id(inner)
        for name in ("body", "orelse", "finalbody", "handlers")
        if isinstance(items := getattr(statement, name, None), list)
        for inner in items
    }
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, (ast.Lambda, *FUNCTIONS)) or node is statement:
            waiting += [child for child in ast.iter_child_nodes(node) if id(child) not in bodies]
