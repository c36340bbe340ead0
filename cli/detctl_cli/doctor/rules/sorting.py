"""Which names a scope sorts."""

from __future__ import annotations

import ast

from detctl_cli.doctor.source import Module


def sorted_names(module: Module, scope: ast.AST) -> set[str]:
    """Names that are sorted anywhere in the scope: x.sort() or sorted(x)."""
    found = set()
    for node in ast.walk(scope):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "sort" and isinstance(node.func.value, ast.Name):
            found.add(node.func.value.id)
        elif (
            module.dotted(node.func) in ("sorted", "natsort.natsorted")
            and node.args
            and isinstance(node.args[0], ast.Name)
        ):
            found.add(node.args[0].id)
    return found
