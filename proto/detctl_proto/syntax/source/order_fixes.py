"""Gives an order to what comes in the order of a hash, an address or a completion. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.edits import Edit, wrapped
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.orders import OrderedUse, ordered_uses
from detctl_proto.syntax.source.sets import Sets
from detctl_proto.syntax.source.statements import head_end, own_nodes, statement_at


def ordered_by_content(sets: Sets, module: Module, line: int) -> Iterator[Edit]:
    uses = [use for use in ordered_uses(sets) if use.module is module and use.line == line]
    if not uses:
        statement = statement_at(module, line)
        uses = [
            use for use in ordered_uses(sets)
            if statement is not None and use.module is module and statement.lineno <= use.line <= head_end(statement)
        ]  # fmt: skip
    for use in uses[:1]:
        yield from _edits_of_use(module, use)


def _edits_of_use(module: Module, use: OrderedUse) -> Iterator[Edit]:
    """Yields the edit that makes one place independent of hashes."""
    if use.kind == "hash":
        yield from _stable_hash(module, use.node)
        return
    parent = module.parents.get(use.node)
    wrap = "dict.fromkeys({})" if use.items == "objects" else "sorted({})"
    if use.items == "objects":
        if isinstance(use.node, ast.Call) and module.dotted(use.node.func) == "set" and len(use.node.args) == 1:
            yield Edit(use.node.func, "dict.fromkeys")
        return
    if use.kind == "taken":
        yield from _taken(module, use.node)
        return
    if isinstance(parent, ast.Call) and parent.args == [use.node] and not parent.keywords:
        outer = module.dotted(parent.func)
        if outer == "list":
            yield Edit(parent, wrapped(use.node, wrap))
            return
        if outer == "iter":
            yield Edit(use.node, wrap)
            return
    yield Edit(use.node, wrap)


def _taken(module: Module, node: ast.expr) -> Iterator[Edit]:
    """One item: next(iter(s)) becomes min(s); x = s.pop() becomes two lines."""
    parent = module.parents.get(node)
    call = module.parents.get(parent) if isinstance(parent, ast.Attribute) else parent
    if isinstance(call, ast.Call) and module.dotted(call.func) == "iter":
        outer = module.parents.get(call)
        if isinstance(outer, ast.Call) and module.dotted(outer.func) == "next" and len(outer.args) == 1:
            yield Edit(outer, wrapped(node, "min({})"))
        return
    if isinstance(call, ast.Call) and isinstance(parent, ast.Attribute) and parent.attr == "pop":
        statement = module.parents.get(call)
        simple = (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        )
        if simple and isinstance(statement, ast.Assign) and isinstance(node, (ast.Name, ast.Attribute)):
            name, of = ast.unparse(statement.targets[0]), ast.unparse(node)
            yield Edit(statement, f"{name} = min({of})\n{of}.remove({name})")


def _stable_hash(module: Module, node: ast.expr) -> Iterator[Edit]:
    if not isinstance(node, ast.Call) or len(node.args) != 1:
        return
    argument = ast.unparse(node.args[0])
    text = isinstance(node.args[0], ast.JoinedStr) or (
        isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    )
    as_text = argument if text else f"str({argument})"
    if "zlib" in module.aliases.values() and "zlib" in module.aliases:
        yield Edit(node, f"zlib.crc32({as_text}.encode())")
    elif "hashlib" in module.aliases:
        yield Edit(node, f"int(hashlib.sha256({as_text}.encode()).hexdigest(), 16)")
    else:
        yield Edit(node, f"zlib.crc32({as_text}.encode())", imports=("zlib",))


def completions_in_order(sets: Sets, module: Module, line: int) -> Iterator[Edit]:
    """Takes results in the order of submission: map for imap_unordered, the futures themselves for as_completed."""
    statement = statement_at(module, line)
    for node in own_nodes(statement) if statement is not None else ():
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "imap_unordered":
            yield Edit(node.func, f"{ast.unparse(node.func.value)}.imap")
            return
        if not module.dotted(node.func).endswith("as_completed") or len(node.args) != 1 or node.keywords:
            continue
        given = node.args[0]
        if isinstance(given, (ast.Name, ast.Attribute, ast.ListComp)) and not sets.made(module, given):
            yield Edit(node, ast.unparse(given))
            return
