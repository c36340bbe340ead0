"""Finds where the order of a set, or a number that hash() gives, is used. sorted(…), len(…) and `in` are harmless."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from detctl_proto.syntax.source.bindings import FUNCTIONS
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.sets import SETS, Items, Sets
from detctl_proto.syntax.source.sorting import sorted_names

Kind = Literal["iterated", "taken", "ties", "hash"]
_TAKES_ORDER = frozenset(
    {
        "list", "tuple", "enumerate", "iter", "map", "zip", "filter", "next", "reversed", "dict.fromkeys", "numpy.array",
        "numpy.asarray", "numpy.fromiter", "torch.tensor", "pandas.Series", "pandas.DataFrame", "pandas.Index", "itertools.chain",
        "itertools.product", "itertools.combinations", "itertools.permutations", "itertools.islice", "collections.deque",
        "collections.OrderedDict.fromkeys", "random.choices", "random.sample", "collections.Counter", "itertools.cycle",
        "tqdm.tqdm", "tqdm.auto.tqdm", "itertools.chain.from_iterable",
    }
)  # fmt: skip
_TAKING_METHODS = frozenset({"join", "extend", "writelines", "fromkeys", "submit", "imap"})
FREE = frozenset({"sorted", "set", "frozenset", "len", "sum", "any", "all", "max", "min"})
_FREE_METHODS = frozenset({"update", "union", "intersection", "difference", "issubset", "issuperset", "isdisjoint"})
_WITH_KEY = frozenset({"sorted", "max", "min"})
_FREE_STATEMENTS = frozenset({"add", "discard", "remove", "debug", "info", "warning"})
# Calls that take a seed.
SEEDING = frozenset(
    {
        "seed", "manual_seed", "manual_seed_all", "default_rng", "RandomState", "Random", "SeedSequence", "set_seed", "seed_everything",
    }
)  # fmt: skip
FOLLOWED_MAX = 3  # names and returns through which a number is followed
HASH_OPERATORS = (ast.Mod, ast.BitAnd, ast.RShift, ast.FloorDiv)


@dataclass(frozen=True)
class OrderedUse:
    """One place. node: the set, or the call of hash(). made_line: where the set is made, in made_file; 0: it is made in the place itself.

    kind: `iterated`, `taken` (one item by pop or next), `ties` (sorted or max with a key that may be equal for two items), `hash`."""

    module: Module
    node: ast.expr
    kind: Kind
    items: Items = "hashed"
    made_file: str = ""
    made_line: int = 0

    @property
    def line(self) -> int:
        return self.node.lineno


def ordered_uses(sets: Sets) -> Iterator[OrderedUse]:
    """Yields the places of a program in the order of its files and lines, each line once."""
    for module in sets.modules:
        found: dict[int, OrderedUse] = {}
        for node in ast.walk(module.tree):
            for kind, used in _uses(module, node):
                made = sets.made(module, used)
                if made is not None and used.lineno not in found:
                    elsewhere = made.module is not module or not _within(module, made.node, used)
                    found[used.lineno] = OrderedUse(
                        module, used, kind, made.items, made.module.shown if elsewhere else "",
                        made.node.lineno if elsewhere else 0,
                    )  # fmt: skip
        for call in hash_calls(module):
            found.setdefault(call.lineno, OrderedUse(module, call, "hash"))
        yield from (found[line] for line in sorted(found))


def hash_calls(module: Module) -> Iterator[ast.Call]:
    """Yields the calls of hash() whose number is used as one: in arithmetic, as a seed, or to sort. A method __hash__ is no such use."""
    for call, name in module.calls():
        if name != "hash" or not call.args or _is_number(call.args[0]):
            continue
        scope = module.scope(call)
        if not (isinstance(scope, FUNCTIONS) and scope.name == "__hash__") and _is_counted(module, call, FOLLOWED_MAX):
            yield call


def _is_counted(module: Module, node: ast.expr, left: int) -> bool:
    """Returns whether a number decides something: through abs, sums, names and returns, at most `left` of the latter."""
    parent = module.parents.get(node)
    while parent is not None:
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, HASH_OPERATORS):
            return True
        if isinstance(parent, ast.keyword):
            if parent.arg in ("seed", "random_state"):
                return True
        elif isinstance(parent, ast.Call):
            name = module.dotted(parent.func)
            if name.rpartition(".")[2] in SEEDING:
                return True
            if name not in ("abs", "int", "float") or node is parent.func:
                return False
        elif isinstance(parent, ast.Lambda):
            given = module.parents.get(parent)
            return isinstance(given, ast.keyword) and given.arg == "key"
        elif not isinstance(parent, (ast.BinOp, ast.UnaryOp, ast.IfExp, ast.BoolOp)):
            break
        parent = module.parents.get(parent)
    if not left:
        return False
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name):
        scope, name = module.scope(parent), parent.targets[0].id
        uses = (
            one
            for one in ast.walk(scope)
            if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
        )
        return any(_is_counted(module, use, left - 1) for use in uses)
    if isinstance(parent, ast.Return):
        function = module.scope(parent)
        if isinstance(function, FUNCTIONS):
            return any(
                _is_counted(module, call, left - 1)
                for call, name in module.calls()
                if name.rpartition(".")[2] == function.name
            )
    return False


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (int, float))


def _within(module: Module, made: ast.expr, used: ast.expr) -> bool:
    return any(made is inner for inner in ast.walk(used))


def _uses(module: Module, node: ast.AST) -> Iterator[tuple[Kind, ast.expr]]:
    """Yields the expressions whose order a node uses, if they are sets."""
    if isinstance(node, (ast.For, ast.AsyncFor)):
        if not _only_free(module, node.body):
            yield "iterated", node.iter
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        if not _reduced(module, node):
            for generator in node.generators:
                yield "iterated", generator.iter
    elif isinstance(node, ast.Starred) and isinstance(node.ctx, ast.Load):
        parent = module.parents.get(node)
        if isinstance(parent, (ast.List, ast.Tuple)) or (
            isinstance(parent, ast.Call) and module.dotted(parent.func) not in FREE
        ):
            yield "iterated", node.value
    elif isinstance(node, ast.YieldFrom):
        yield "iterated", node.value
    elif isinstance(node, ast.Call):
        yield from _uses_of_call(module, node)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Tuple, ast.List)):
        yield "iterated", node.value


def _uses_of_call(module: Module, node: ast.Call) -> Iterator[tuple[Kind, ast.expr]]:
    name = module.dotted(node.func)
    if name in _WITH_KEY and node.args and any(keyword.arg == "key" for keyword in node.keywords):
        yield "ties", node.args[0]
        return
    if isinstance(node.func, ast.Attribute):
        if node.func.attr == "pop" and not node.args and not node.keywords:
            yield "taken", node.func.value
            return
        if node.func.attr in _TAKING_METHODS and not _reduced(module, node):
            for argument in node.args:
                yield "iterated", argument
    if name in _TAKES_ORDER and not _reduced(module, node):
        parent = module.parents.get(node)
        taken = name == "iter" and isinstance(parent, ast.Call) and module.dotted(parent.func) == "next"
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            yield "taken" if taken or name == "next" else "iterated", argument


def _reduced(module: Module, node: ast.AST) -> bool:
    """Returns whether the result goes directly into something that ignores order."""
    parent = module.parents.get(node)
    if isinstance(parent, ast.Assign):  # classes = list(set(labels)); classes.sort()
        names = {target.id for target in parent.targets if isinstance(target, ast.Name)}
        return bool(names) and names <= sorted_names(module, module.scope(node), node)
    if isinstance(parent, ast.Compare):
        return any(isinstance(op, (ast.In, ast.NotIn)) for op in parent.ops)
    if not isinstance(parent, ast.Call) or node is parent.func:
        return False
    if isinstance(parent.func, ast.Attribute) and parent.func.attr in _FREE_METHODS:
        return not module.dotted(parent.func).startswith(("numpy.", "torch."))
    if module.dotted(parent.func) in _WITH_KEY and any(keyword.arg == "key" for keyword in parent.keywords):
        return False
    return module.dotted(parent.func) in FREE


def _only_free(module: Module, body: Sequence[ast.stmt]) -> bool:
    """Returns whether a loop only fills sets, prints, checks or counts, so that its order has no effect."""
    for statement in body:
        if isinstance(statement, (ast.Pass, ast.Assert, ast.Raise, ast.Continue)):
            continue
        if isinstance(statement, ast.If):
            if not _only_free(module, [*statement.body, *statement.orelse]):
                return False
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            function = statement.value.func
            name = (
                function.attr
                if isinstance(function, ast.Attribute)
                else function.id
                if isinstance(function, ast.Name)
                else ""
            )
            if name not in _FREE_STATEMENTS:
                return False
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
            if not (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, int)):
                return False
        else:
            return False
    return True


__all__ = ["FREE", "SETS", "Kind", "OrderedUse", "hash_calls", "ordered_uses"]
