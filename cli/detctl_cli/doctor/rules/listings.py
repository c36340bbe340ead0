"""Rule on folders that are listed without sorting, in an order that differs between file systems."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.listing_fixes import listing_name
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.sorting import sorted_names

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.source import Program

_WALKS = frozenset({"os.walk", "os.fwalk", "Path.walk"})
# These functions ignore the order of the list.
_ORDER_FREE = frozenset({"sorted", "set", "frozenset", "len", "any", "all", "max", "min", "sum", "bool", "natsorted"})
_ORDER_FREE_DOTTED = frozenset({"natsort.natsorted", "collections.Counter", "natsort.os_sorted"})
_FIX = "sorted({})"


def unsorted_listings(program: Program) -> Iterator[Finding]:
    """Yields calls of os.listdir, scandir, glob, walk and Path.iterdir/glob/rglob whose order can affect the data."""
    for module in program.modules:
        for call, _ in module.calls():
            shown = listing_name(module, call)
            if not shown or _order_does_not_matter(module, call):
                continue
            walk = shown in _WALKS
            yield Finding(
                "info" if walk else "warn",
                "filesystem-order",
                f"the result of {shown}() is not sorted",
                "names come in the order of the file system, which differs between machines and copies",
                "sort folders and files in the loop: dirs.sort(); for name in sorted(files)"
                if walk
                else _FIX.format(f"{shown}(…)"),
                module.shown,
                call.lineno,
            )


def _order_does_not_matter(module: Module, call: ast.Call) -> bool:
    node: ast.AST = call
    for outer in module.ancestors(call):
        if isinstance(outer, ast.Call) and node is not outer.func:
            name = module.dotted(outer.func)
            if name in _ORDER_FREE or name in _ORDER_FREE_DOTTED:
                return True
        if isinstance(outer, ast.Compare) and any(isinstance(op, (ast.In, ast.NotIn)) for op in outer.ops):
            return True
        if isinstance(outer, (ast.SetComp, ast.If)) and node is not outer and not _in_body(outer, node):
            return True
        if isinstance(outer, (ast.Assign, ast.AnnAssign)):
            targets = outer.targets if isinstance(outer, ast.Assign) else [outer.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            return bool(names) and names <= sorted_names(module, module.scope(call), call)
        if isinstance(outer, (ast.For, ast.AsyncFor)) and node is outer.iter:
            return _loop_is_harmless(module, outer)
        if isinstance(outer, ast.stmt):
            return isinstance(outer, ast.Expr) and node is call  # its value is thrown away
        node = outer
    return False


def _in_body(outer: ast.SetComp | ast.If, node: ast.AST) -> bool:
    return isinstance(outer, ast.If) and node is not outer.test


def _loop_is_harmless(module: Module, loop: ast.For | ast.AsyncFor) -> bool:
    """Returns whether the loop collects something in lists, and all of them are sorted afterwards."""
    collected = {
        node.func.value.id
        for node in ast.walk(loop)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("append", "extend")
        and isinstance(node.func.value, ast.Name)
    }
    if collected:
        return collected <= sorted_names(module, module.scope(loop), loop)
    # os.walk with sorting inside: dirs.sort() or sorted(files).
    return bool(sorted_names(module, loop, loop))
