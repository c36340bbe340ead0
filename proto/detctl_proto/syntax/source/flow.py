"""Follows a value through a program by the names that it passes, and finds what it reaches: data, the model, or only output.

It ignores the order of statements, so it may report more than can happen, and follows calls by name alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from detctl_proto.syntax.source.bindings import FUNCTIONS, last_name
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.orders import SEEDING
from detctl_proto.syntax.source.sets import Sets

Reached = Literal["data", "model"]
ROUNDS_MAX = 30
# Calls whose result does not depend on the order of their argument.
_FREE = frozenset({"sorted", "len", "set", "frozenset", "any", "all", "isinstance", "type", "id", "bool"})
_DATA = frozenset(
    {
        "tensor", "as_tensor", "from_numpy", "LongTensor", "FloatTensor", "IntTensor", "TensorDataset", "DataLoader", "Subset",
        "ConcatDataset", "from_dict", "from_list", "from_pandas", "SubsetRandomSampler", "WeightedRandomSampler", "one_hot", "stack",
        "SequentialSampler", "random_split", "train_test_split", "get_dummies", "index_select", "ImageFolder", "from_generator",
    }
)  # fmt: skip
_MODEL_PACKAGES = ("torch.nn.", "torch.optim.", "transformers.", "torchvision.models.", "timm.")
_OPTIMIZERS = frozenset(
    {"Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "LBFGS", "add_param_group"}
)
_CONTAINERS = frozenset({"append", "extend", "insert", "add", "update", "setdefault", "appendleft", "put"})

Key = tuple[str, object, str]


@dataclass
class _Flow:
    sets: Sets
    tainted: set[Key] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)  # whose result is tainted
    nodes: set[int] = field(default_factory=set)  # expressions that start it
    reached: set[Reached] = field(default_factory=set)
    changed: bool = False


def reached_by(sets: Sets, module: Module, node: ast.expr) -> frozenset[Reached]:
    """Returns what the value of an expression reaches. Empty: neither data nor a model was found, so it is probably only printed."""
    flow = _Flow(sets, nodes={id(node)})
    statement = _statement_of(module, node)
    if isinstance(statement, (ast.For, ast.AsyncFor)) and any(inner is node for inner in ast.walk(statement.iter)):
        _taint_loop(flow, module, statement)
    for _ in range(ROUNDS_MAX):
        flow.changed = False
        for one in sets.modules:
            _pass_over(flow, one)
        if not flow.changed or len(flow.reached) == 2:
            break
    return frozenset(flow.reached)


def is_dead(sets: Sets, module: Module, node: ast.AST) -> bool:
    """Returns whether the program never names the function around a node, or guards it as another script's entry."""
    for outer in module.ancestors(node):
        if isinstance(outer, ast.If) and module is not sets.modules[0] and "__main__" in ast.dump(outer.test)[:400]:
            return True
        if not isinstance(outer, FUNCTIONS) or outer.decorator_list:
            continue
        if isinstance(module.parents.get(outer), ast.ClassDef):
            continue
        if outer.name not in _named(sets):
            return True
    return False


def _named(sets: Sets) -> set[str]:
    found: set[str] = set()
    for module in sets.modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.add(node.value)
    return found


def _pass_over(flow: _Flow, module: Module) -> None:
    bindings = flow.sets.bindings(module)
    for node, scope in bindings.scopes.items():
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr)):
            if node.value is not None and _tainted(flow, module, node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    _taint(flow, module, scope, target)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            if _tainted(flow, module, node.iter):
                _taint_loop(flow, module, node)
        elif isinstance(node, ast.comprehension):
            if _tainted(flow, module, node.iter):
                _taint(flow, module, scope, node.target)
        elif isinstance(node, ast.withitem):
            if node.optional_vars is not None and _tainted(flow, module, node.context_expr):
                _taint(flow, module, scope, node.optional_vars)
        elif isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)):
            if node.value is not None and isinstance(scope, FUNCTIONS) and _tainted(flow, module, node.value):
                if scope.name in ("__getitem__", "__iter__", "__getitems__", "collate_fn"):
                    _reach(flow, "data")
                if scope.name == "forward":
                    _reach(flow, "model")
                if scope.name not in flow.functions:
                    flow.functions.add(scope.name)
                    flow.changed = True
        elif isinstance(node, ast.Call):
            _call(flow, module, scope, node)


def _call(flow: _Flow, module: Module, scope: ast.AST, node: ast.Call) -> None:
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    if not any(_tainted(flow, module, value) for value in values):
        return
    name = module.dotted(node.func)
    short = name.rpartition(".")[2] or last_name(node.func)
    if short in _FREE:
        return
    if isinstance(node.func, ast.Attribute) and short in _CONTAINERS:
        _taint(flow, module, scope, node.func.value)
    if short in SEEDING:  # what is drawn may be anything
        _reach(flow, "data")
        _reach(flow, "model")
    elif short in _DATA or _is_dataset(flow, short):
        _reach(flow, "data")
    elif short != "save" and (name.startswith((*_MODEL_PACKAGES, "torch.")) or short in _OPTIMIZERS):
        _reach(flow, "model" if not name.startswith("torch.utils.data") else "data")
    for other in flow.sets.modules:
        bindings = flow.sets.bindings(other)
        for definition in bindings.functions.get("__init__" if short[:1].isupper() else short, ())[:8]:
            if short[:1].isupper() and not _in_class(other, definition, short):
                continue
            for key in _parameters_given(flow, module, node, definition):
                if ("name", id(definition), key) not in flow.tainted:
                    flow.tainted.add(("name", id(definition), key))
                    flow.changed = True


def _parameters_given(
    flow: _Flow, module: Module, node: ast.Call, definition: ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[str]:
    names = [one.arg for one in [*definition.args.posonlyargs, *definition.args.args]]
    if names[:1] in (["self"], ["cls"]):
        names = names[1:]
    for position, value in enumerate(node.args):
        if isinstance(value, ast.Starred) or position >= len(names):
            break
        if _tainted(flow, module, value):
            yield names[position]
    for keyword in node.keywords:
        if keyword.arg and _tainted(flow, module, keyword.value):
            yield keyword.arg


def _in_class(module: Module, definition: ast.AST, name: str) -> bool:
    parent = module.parents.get(definition)
    return isinstance(parent, ast.ClassDef) and parent.name == name


def _is_dataset(flow: _Flow, name: str) -> bool:
    """Returns whether a class of the program has __getitem__ or __iter__ and a name or base that ends in Dataset."""
    if name.endswith("Dataset"):
        return True
    for module in flow.sets.modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return any(last_name(base).endswith(("Dataset", "Sampler")) for base in node.bases)
    return False


def _tainted(flow: _Flow, module: Module, node: ast.expr) -> bool:
    """Returns whether the value, or the order of its items, may depend on the start. A chain of calls is followed without recursion."""
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        if id(one) in flow.nodes:
            return True
        if isinstance(one, ast.Name):
            if _name_is_tainted(flow, module, one):
                return True
            continue
        if isinstance(one, ast.Attribute):
            if ("attribute", "", one.attr) in flow.tainted:
                return True
        elif isinstance(one, ast.Call):
            short = module.dotted(one.func).rpartition(".")[2] or last_name(one.func)
            if short in _FREE and not any(keyword.arg == "key" for keyword in one.keywords):
                continue
            if short in flow.functions:
                return True
        elif isinstance(one, ast.Compare) and any(isinstance(op, (ast.In, ast.NotIn)) for op in one.ops):
            waiting.append(one.left)
            continue
        elif isinstance(one, (ast.Lambda, *FUNCTIONS)):
            continue
        waiting += ast.iter_child_nodes(one)
    return False


def _name_is_tainted(flow: _Flow, module: Module, node: ast.Name) -> bool:
    bindings = flow.sets.bindings(module)
    for scope in flow.sets._scopes(bindings, node):
        if ("name", id(scope), node.id) in flow.tainted:
            return True
    origin = module.aliases.get(node.id, "")
    return bool(origin) and ("global", "", origin.rpartition(".")[2]) in flow.tainted


def _taint(flow: _Flow, module: Module, scope: ast.AST, target: ast.AST) -> None:
    bindings = flow.sets.bindings(module)
    keys: list[Key] = []
    if isinstance(target, ast.Name):
        if scope is module.tree or (scope, target.id) in bindings.values or (scope, target.id) in bindings.loops:
            keys.append(("name", id(scope), target.id))
        else:  # filled, but not assigned here: a name of an outer scope, or an argument
            keys += [("name", id(outer), target.id) for outer in flow.sets._scopes(bindings, target)]
        if scope is module.tree:
            keys.append(("global", "", target.id))
    elif isinstance(target, ast.Attribute):
        keys.append(("attribute", "", target.attr))
    elif isinstance(target, (ast.Subscript, ast.Starred)):
        _taint(flow, module, scope, target.value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        for one in target.elts:
            _taint(flow, module, scope, one)
    for key in keys:
        if key not in flow.tainted:
            flow.tainted.add(key)
            flow.changed = True


def _taint_loop(flow: _Flow, module: Module, loop: ast.For | ast.AsyncFor) -> None:
    """A loop in that order: its target, and all that its body fills or assigns."""
    bindings = flow.sets.bindings(module)
    scope = bindings.scope(loop)
    _taint(flow, module, scope, loop.target)
    for statement in loop.body:
        for node in ast.walk(statement):
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    _taint(flow, module, scope, target)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CONTAINERS:
                _taint(flow, module, scope, node.func.value)
            elif isinstance(node, (ast.Yield, ast.YieldFrom)) and isinstance(scope, FUNCTIONS):
                if scope.name not in flow.functions:
                    flow.functions.add(scope.name)
                    flow.changed = True
                if scope.name == "__iter__":
                    _reach(flow, "data")


def _reach(flow: _Flow, what: Reached) -> None:
    if what not in flow.reached:
        flow.reached.add(what)
        flow.changed = True


def _statement_of(module: Module, node: ast.AST) -> ast.AST:
    return next((outer for outer in module.ancestors(node) if isinstance(outer, ast.stmt)), node)


__all__: Sequence[str] = ("Reached", "is_dead", "reached_by")
