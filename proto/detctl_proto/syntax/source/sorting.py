"""Finds the names that a scope sorts."""

from __future__ import annotations

import ast

from detctl_proto.syntax.source.module import Module


def sorted_names(module: Module, scope: ast.AST, used: ast.AST) -> set[str]:
    """Returns names that the scope sorts whenever it runs `used`: by x.sort() or sorted(x), without a condition of its own."""
    found = set()
    around = set(module.ancestors(used))
    for node in ast.walk(scope):
        name = _sorted_name(module, node)
        if name and not any(
            isinstance(outer, (ast.If, ast.IfExp)) and outer not in around for outer in module.ancestors(node)
        ):
            found.add(name)
    return found


def _sorted_name(module: Module, node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "sort" and isinstance(node.func.value, ast.Name):
        return node.func.value.id
    sorts = module.dotted(node.func) in ("sorted", "natsort.natsorted")
    return node.args[0].id if sorts and node.args and isinstance(node.args[0], ast.Name) else ""
