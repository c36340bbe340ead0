"""Reads the user's source: which lines set an item such as `group["lr"]`, and which calls a statement's values come from."""

from __future__ import annotations

import ast
from typing import Any, Iterator, List, Optional, Sequence, Set, Tuple

from detctl_probe.process.source_trees import imported_names, resolved, text_of, tree_of

CALLS_MAX = 16
DEPTH_MAX = 4  # assignments that are followed from a statement back


def walk(scope: Any) -> Iterator[ast.AST]:
    """The nodes of a function or a module in source order, without those of functions inside it."""
    stack: List[ast.AST] = list(reversed(list(ast.iter_child_nodes(scope))))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def dotted(node: Optional[ast.AST]) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return "%s.%s" % (inner, node.attr) if inner else node.attr
    return ""


def assignments(files: Sequence[str], key: str) -> List[Tuple[str, int]]:
    """(file, line) of each statement that sets the item `key` of something, as `group["lr"] = …` does."""
    found: List[Tuple[str, int]] = []
    for file in files:
        if key not in text_of(file):
            continue
        tree = tree_of(file)
        for node in ast.walk(tree) if tree is not None else ():
            targets: List[Any] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
                targets = [node.target]
            if any(_is_item(target, key) for target in targets):
                found.append((file, node.lineno))  # type: ignore[attr-defined]  # statements have one
            elif isinstance(node, ast.Call) and _updates(node, key):
                found.append((file, node.lineno))
    return sorted(found, key=lambda row: (files.index(row[0]), row[1]))


def _is_item(target: Any, key: str) -> bool:
    if isinstance(target, (ast.Tuple, ast.List)):
        return any(_is_item(one, key) for one in target.elts)
    if not isinstance(target, ast.Subscript):
        return False
    index: Any = target.slice
    index = getattr(index, "value", index) if type(index).__name__ == "Index" else index
    return isinstance(index, ast.Constant) and index.value == key


def _updates(call: ast.Call, key: str) -> bool:
    """Whether a call is `group.update(lr=…)` or `group.update({"lr": …})`."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "update":
        return False
    keys = [key_node for one in call.args if isinstance(one, ast.Dict) for key_node in one.keys]
    return any(word.arg == key for word in call.keywords) or any(
        isinstance(one, ast.Constant) and one.value == key for one in keys
    )


# -- where a value comes from ----------------------------------------------------------------------------------------------


def calls_into(file: str, line: int, key: str = "") -> List[str]:
    """Dotted names of the calls in the statement of a line, and in the assignments of the plain names that it uses.

    key: only of what the statement gives to this keyword or item (`lr=…`, `{"lr": …}`); empty if it gives it nothing."""
    tree = tree_of(file)
    if tree is None:
        return []
    scopes = [tree, *(node for node in ast.walk(tree) if _is_function(node) and _holds(node, line))]
    statements = [node for scope in scopes for node in walk(scope) if isinstance(node, ast.stmt) and _holds(node, line)]
    simple = [node for node in statements if not hasattr(node, "body")]
    if not simple:
        return []
    imported = imported_names(tree)
    found: List[str] = []
    names: Set[str] = set()
    starts = _given(simple[-1], key) if key else [simple[-1]]
    todo: List[Tuple[ast.AST, int]] = [(node, 0) for node in starts]
    while todo and len(found) < CALLS_MAX:
        node, depth = todo.pop(0)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call):
                name = resolved(dotted(inner.func), imported)
                if name and name not in found:
                    found.append(name)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load) and inner.id not in names:
                names.add(inner.id)
                if depth < DEPTH_MAX:
                    todo += [(value, depth + 1) for scope in scopes for value in _assigned(scope, inner.id)]
    return found[:CALLS_MAX]


def _given(statement: ast.AST, key: str) -> List[ast.AST]:
    found: List[ast.AST] = []
    for node in ast.walk(statement):
        if isinstance(node, ast.keyword) and node.arg == key:
            found.append(node.value)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values)  # noqa: B905 - strict came with Python 3.10
            found += [value for name, value in pairs if isinstance(name, ast.Constant) and name.value == key]
    return found


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _holds(node: Any, line: int) -> bool:
    return bool(node.lineno <= line <= (node.end_lineno or node.lineno))


def _assigned(scope: ast.AST, name: str) -> Iterator[ast.AST]:
    for node in walk(scope):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(part, ast.Name) and part.id == name for one in targets for part in ast.walk(one)):
                yield node.value
        elif isinstance(node, ast.NamedExpr) and node.target.id == name:
            yield node.value
