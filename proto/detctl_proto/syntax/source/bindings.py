"""What the names of a file are bound to: an index over its assignments, loops, parameters and functions, built once."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field

from detctl_proto.syntax.source.module import Module

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)


@dataclass
class Bindings:
    """The bindings of one file. values: (scope, name) -> assigned values. attributes: name of an attribute of self -> assigned values.
    loops: (scope, name) -> (iterable, position in the target, or None for the whole item). annotations: (scope, name) -> annotation.
    items: name -> values that are assigned to `name[…]`. functions: name -> its definitions, methods too."""

    module: Module
    values: dict[tuple[ast.AST, str], list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    attributes: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    loops: dict[tuple[ast.AST, str], list[tuple[ast.expr, int | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    annotations: dict[tuple[ast.AST, str], ast.expr] = field(default_factory=dict)
    items: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))
    functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = field(
        default_factory=lambda: defaultdict(list)
    )
    scopes: dict[ast.AST, ast.AST] = field(default_factory=dict)
    returns: dict[ast.AST, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))

    def scope(self, node: ast.AST) -> ast.AST:
        """Returns the function or file around a node. A function is its own scope."""
        return self.scopes.get(node, self.module.tree)


def bindings_of(module: Module) -> Bindings:
    """Returns the index of a file."""
    found = Bindings(module)
    _number_scopes(found)
    for node, scope in list(found.scopes.items()):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _bind(found, scope, target, node.value)
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name):
                found.annotations[scope, node.target.id] = node.annotation
            if node.value is not None:
                _bind(found, scope, node.target, node.value)
        elif isinstance(node, ast.NamedExpr):
            _bind(found, scope, node.target, node.value)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            _loop(found, scope, node.target, node.iter)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if item.optional_vars is not None:
                    _bind(found, scope, item.optional_vars, item.context_expr)
        elif isinstance(node, FUNCTIONS):
            found.functions[node.name].append(node)
            for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
                if argument.annotation is not None:
                    found.annotations[node, argument.arg] = argument.annotation
        elif isinstance(node, ast.Return) and node.value is not None:
            found.returns[scope].append(node.value)
    return found


def _number_scopes(found: Bindings) -> None:
    waiting: list[tuple[ast.AST, ast.AST]] = [(found.module.tree, found.module.tree)]
    while waiting:
        node, scope = waiting.pop()
        own = node if isinstance(node, SCOPES) else scope
        found.scopes[node] = own
        waiting += [(child, own) for child in ast.iter_child_nodes(node)]


def _bind(found: Bindings, scope: ast.AST, target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Name):
        found.values[scope, target.id].append(value)
    elif isinstance(target, ast.Attribute):
        found.attributes[target.attr].append(value)
    elif isinstance(target, ast.Subscript):
        if name := last_name(target.value):
            found.items[name].append(value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        same = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
        for position, one in enumerate(target.elts):
            inner = value.elts[position] if same and isinstance(value, (ast.Tuple, ast.List)) else None
            if inner is not None:
                _bind(found, scope, one, inner)
            elif isinstance(one, ast.Name):
                found.loops[scope, one.id].append((value, None))  # an unknown part of it


def _loop(found: Bindings, scope: ast.AST, target: ast.expr, iterable: ast.expr) -> None:
    if isinstance(target, ast.Name):
        found.loops[scope, target.id].append((iterable, None))
    elif isinstance(target, (ast.Tuple, ast.List)):
        for position, one in enumerate(target.elts):
            if isinstance(one, ast.Name):
                found.loops[scope, one.id].append((iterable, position))


def last_name(node: ast.AST) -> str:
    """Returns `x` for the expressions x and self.x, else an empty text."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
