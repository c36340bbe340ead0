"""Syntax trees of the user's source files, and the names that they import.

A file is parsed once for all observers. Trees are large, so their text is limited, and start.py frees them when a later step begins. The
user's program must have imported `ast` already (torch does): the probe imports nothing that the program does not.
"""

from __future__ import annotations

import linecache
import sys
from types import CodeType
from typing import Any, Dict, List, Optional, Tuple

CHARS_MAX = 1 << 20  # of a file, and of all files whose trees are kept

_kept: Dict[str, Tuple[str, Any]] = {}  # file -> its text and its tree


def syntax() -> Any:
    """The module `ast`; None if the program has not imported it."""
    return sys.modules.get("ast")


def text_of(file: str) -> str:
    """The text of a source file; empty if it cannot be read."""
    try:
        return "".join(linecache.getlines(file))
    except (SyntaxError, ValueError):  # Python 3.9, of a file that is not text
        return ""


def tree_of(file: str) -> Optional[Any]:
    """The syntax tree of a source file; None if it cannot be read, is too large or is not Python, or if `ast` is not loaded."""
    ast, text = syntax(), text_of(file)
    if ast is None or not 0 < len(text) <= CHARS_MAX:
        return None
    kept = _kept.get(file)
    if kept is not None and kept[0] == text:
        return kept[1]
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        tree = None
    if sum(len(other) for other, _ in list(_kept.values())) + len(text) > CHARS_MAX:
        forget()
    _kept[file] = text, tree
    return tree


def forget() -> None:
    """Frees the trees."""
    _kept.clear()


def function_of(tree: Any, code: CodeType) -> Optional[Any]:
    """The definition of a function with this code; None for a lambda, a module and what the tree does not hold."""
    for node in syntax().walk(tree):
        if type(node).__name__ in ("FunctionDef", "AsyncFunctionDef") and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if code.co_firstlineno in (first, node.lineno):
                return node
    return None


def imported_names(tree: Any) -> Dict[str, str]:
    """Name in the file -> dotted name of what it is imported from: {"np": "numpy", "now": "datetime.now", "f": ".own.f"}."""
    found: Dict[str, str] = {}
    for node in syntax().walk(tree):
        kind = type(node).__name__
        if kind == "Import":
            for one in node.names:
                first = one.name.partition(".")[0]
                found[one.asname or first] = one.name if one.asname else first
        elif kind == "ImportFrom":
            module = "." * node.level + (node.module or "")
            for one in node.names:
                found[one.asname or one.name] = (module if module.endswith(".") else module + ".") + one.name
    return found


def resolved(name: str, imported: Dict[str, str]) -> str:
    """`numpy.random` for the dotted name `np.random`."""
    first, dot, rest = name.partition(".")
    return imported.get(first, first) + dot + rest


def dotted(node: Any) -> str:
    """`t.time` for an expression that is a chain of names; empty for any other."""
    parts: List[str] = []
    while type(node).__name__ == "Attribute":
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if type(node).__name__ == "Name" else ""
