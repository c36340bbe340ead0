"""Rules on orders that depend on string hashes, which change from run to run unless PYTHONHASHSEED is set."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_cli.doctor.finding import Finding
from detctl_cli.doctor.module import Module
from detctl_cli.doctor.rules.sorting import sorted_names
from detctl_cli.doctor.source import Program

_TAKES_ORDER = frozenset(
    {"list", "tuple", "enumerate", "iter", "map", "zip", "filter", "next", "numpy.array", "torch.tensor"}
)


def set_order(program: Program) -> Iterator[Finding]:
    """Yields places where the order of a set matters. sorted(…), len(…) and `in` are harmless."""
    for module in program.modules:
        seen: set[int] = set()
        for node in ast.walk(module.tree):
            for used in _ordered_uses(module, node):
                if used.lineno not in seen and _is_set(module, used):
                    seen.add(used.lineno)
                    yield Finding(
                        "warn", "hash-order", "the order of a set is used",
                        "for strings it differs from run to run unless PYTHONHASHSEED is set", "sorted(…)",
                        module.shown, used.lineno,
                    )  # fmt: skip


def string_hash(program: Program) -> Iterator[Finding]:
    """Yields hash(x) % n, a bucket that depends on PYTHONHASHSEED."""
    for module in program.modules:
        for call, name in module.calls():
            parent = module.parents.get(call)
            while isinstance(parent, ast.Call) and module.dotted(parent.func) == "abs":
                parent = module.parents.get(parent)
            if name == "hash" and isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Mod, ast.BitAnd)):
                yield Finding(
                    "warn", "hash-order", "hash() chooses a bucket", "for strings it differs from run to run",
                    "use zlib.crc32 or hashlib on the bytes", module.shown, call.lineno,
                )  # fmt: skip


def _ordered_uses(module: Module, node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, (ast.For, ast.AsyncFor)):
        yield node.iter
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        if not _reduced(module, node):
            yield from (generator.iter for generator in node.generators)
    elif isinstance(node, ast.Call):
        name = module.dotted(node.func)
        joins = isinstance(node.func, ast.Attribute) and node.func.attr == "join"
        if (name in _TAKES_ORDER or joins) and not _reduced(module, node):
            yield from node.args


def _reduced(module: Module, node: ast.AST) -> bool:
    """Returns whether the result goes directly into something that ignores order."""
    parent = module.parents.get(node)
    if isinstance(parent, ast.Assign):  # classes = list(set(labels)); classes.sort()
        names = {target.id for target in parent.targets if isinstance(target, ast.Name)}
        return bool(names) and names <= sorted_names(module, module.scope(node), node)
    free = {"sorted", "set", "frozenset", "len", "sum", "any", "all", "max", "min"}
    return isinstance(parent, ast.Call) and node is not parent.func and module.dotted(parent.func) in free


def _is_set(module: Module, node: ast.expr) -> bool:
    """Returns whether an expression is certainly a set: created as one, or a name or union of sets."""
    waiting, followed, made = [node], set[str](), False
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.BinOp) and isinstance(one.op, (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)):
            waiting += (one.left, one.right)
        elif isinstance(one, ast.Name):
            if one.id in followed:
                continue  # seen = seen | more: the other assignments determine whether it is a set
            followed.add(one.id)
            values = _assigned(module, one)
            if not values or any(isinstance(value, ast.Name) for value in values):
                return False
            waiting += values
        elif _makes_set(module, one):
            made = True
        else:
            return False
    return made


def _makes_set(module: Module, node: ast.expr) -> bool:
    if isinstance(node, ast.Set):
        return not all(isinstance(item, ast.Constant) and isinstance(item.value, (int, bool)) for item in node.elts)
    if isinstance(node, ast.SetComp):
        return True
    if not isinstance(node, ast.Call) or module.dotted(node.func) not in ("set", "frozenset"):
        return False
    return not (node.args and isinstance(node.args[0], ast.Call) and module.dotted(node.args[0].func) == "range")


def _assigned(module: Module, name: ast.Name) -> list[ast.expr]:
    """Returns the values that are assigned to the name in its scope."""
    return [
        node.value
        for node in ast.walk(module.scope(name))
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name.id for target in node.targets)
    ]
