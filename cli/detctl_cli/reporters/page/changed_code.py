"""Applies the fix of a cause to the source line that it names, by its syntax tree. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

LISTINGS = {"listdir", "iterdir", "glob", "rglob", "iglob", "scandir"}
GENERATORS = {"default_rng", "Random", "RandomState"}
SEEDING = {
    "seed",
    "manual_seed",
    "manual_seed_all",
    "default_rng",
    "Random",
    "RandomState",
    "seed_everything",
    "set_seed",
}

# (offset, end offset, replacement), in bytes
Edit = tuple[int, int, bytes]


def changed_code(text: str, line: int, cause: Mapping[str, Any]) -> str | None:
    """Returns the source with the fix of `cause` at `line`; None if it is unknown how to change that line. Line breaks stay."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    source = _Source(text)
    nodes = [node for node in ast.walk(tree) if _is_at(node, line)]
    edits = list(_edits(str(cause.get("cause")), nodes, source))
    if not edits:
        return None
    return source.edited(edits)


class _Source:
    """The source as bytes, because the offsets of a syntax tree count bytes of UTF-8."""

    def __init__(self, text: str) -> None:
        self.content = text.encode("utf-8", "surrogatepass")
        self._starts = [0]
        for row in self.content.split(b"\n"):
            self._starts.append(self._starts[-1] + len(row) + 1)

    def span(self, node: ast.expr) -> tuple[int, int]:
        end_line, end_offset = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[end_line - 1] + end_offset

    def of(self, node: ast.expr) -> bytes:
        start, end = self.span(node)
        return self.content[start:end]

    def edited(self, edits: list[Edit]) -> str | None:
        content = self.content
        for start, end, replacement in sorted(edits, reverse=True):
            content = content[:start] + replacement + content[end:]
        try:
            ast.parse(content)
        except (SyntaxError, ValueError):
            return None
        return content.decode("utf-8", "replace") if content.count(b"\n") == self.content.count(b"\n") else None


def _is_at(node: ast.AST, line: int) -> bool:
    if isinstance(node, ast.comprehension):
        return node.iter.lineno <= line <= (node.iter.end_lineno or node.iter.lineno)
    return getattr(node, "lineno", None) == line


def _edits(cause: str, nodes: list[ast.AST], source: _Source) -> Iterator[Edit]:
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if cause == "filesystem-order":
        yield from _first(_wrapped(call, source, _sort_key(call)) for call in calls if _name(call) in LISTINGS)
    elif cause == "hash-order":
        yield from _first(_sorted_sets(nodes, source))
    elif cause == "unseeded-rng":
        made = [call for call in calls if _name(call) in GENERATORS and not call.args and not call.keywords]
        yield from _first(_arguments(call, b"seed", source) for call in made)
    elif cause == "identity-seed":
        yield from _first(_arguments(call, b"seed", source) for call in calls if _name(call) in SEEDING and call.args)
    elif cause == "concurrency":
        yield from _first(_in_order(calls, source))


def _first(edits: Iterator[Edit]) -> Iterator[Edit]:
    for edit in edits:
        yield edit
        return


def _name(call: ast.Call) -> str:
    """Returns the last part of the called name."""
    return (
        call.func.attr
        if isinstance(call.func, ast.Attribute)
        else call.func.id
        if isinstance(call.func, ast.Name)
        else ""
    )


def _sort_key(call: ast.Call) -> bytes:
    return b", key=lambda entry: entry.name" if _name(call) == "scandir" else b""


def _wrapped(node: ast.expr, source: _Source, more: bytes = b"") -> Edit:
    start, end = source.span(node)
    return start, end, b"sorted(" + source.of(node) + more + b")"


def _sorted_sets(nodes: list[ast.AST], source: _Source) -> Iterator[Edit]:
    for node in nodes:
        if isinstance(node, ast.Call) and _name(node) in ("list", "tuple") and len(node.args) == 1:
            start, end = source.span(node.func)
            if _name(node) == "list":
                yield start, end, b"sorted"
            else:
                yield _wrapped(node.args[0], source)
    for node in nodes:
        if isinstance(node, (ast.For, ast.comprehension)) and not (
            isinstance(node.iter, ast.Call) and _name(node.iter) in ("sorted", "range")
        ):
            yield _wrapped(node.iter, source)


def _arguments(call: ast.Call, arguments: bytes, source: _Source) -> Edit:
    """Returns the edit that replaces everything between the parentheses of a call."""
    start, end = source.span(call.func)[1], source.span(call)[1]
    opened = source.content.index(b"(", start, end)
    return opened + 1, end - 1, arguments


def _in_order(calls: list[ast.Call], source: _Source) -> Iterator[Edit]:
    for call in calls:
        if _name(call) == "imap_unordered" and isinstance(call.func, ast.Attribute):
            _, end = source.span(call.func)
            yield end - len(b"imap_unordered"), end, b"imap"
        elif _name(call) == "as_completed" and len(call.args) == 1 and not call.keywords:
            start, end = source.span(call)
            yield start, end, source.of(call.args[0])
