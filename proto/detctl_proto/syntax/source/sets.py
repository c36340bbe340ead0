"""Decides whether an expression is a set, across the files of a program."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from detctl_proto.syntax.source.bindings import FUNCTIONS, Bindings, bindings_of, last_name
from detctl_proto.syntax.source.module import Module

# What a set holds. hashed: text, or unknown, whose order PYTHONHASHSEED changes. objects: parameters and modules, which are ordered
# by their address. ordered: integers, whose order is the same in each run.
Items = Literal["hashed", "objects", "ordered"]
DEPTH_MAX = 40
SETS = frozenset({"set", "frozenset"})
_COMBINE = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_VIEWS = frozenset({"keys", "items"})
_OBJECTS = frozenset({"parameters", "modules", "children", "named_parameters", "named_modules", "buffers"})
_INTEGERS = frozenset({"int", "len", "ord", "range", "round"})
_INTEGER_METHODS = frozenset({"unique_consecutive"})
_ANNOTATIONS = frozenset({"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"})


@dataclass(frozen=True)
class Made:
    """Where a set is made: the expression, and its file."""

    module: Module
    node: ast.expr
    items: Items


@dataclass
class Sets:
    """The files of a program, the main one first."""

    modules: Sequence[Module]
    _bindings: dict[int, Bindings] = field(default_factory=dict)

    def bindings(self, module: Module) -> Bindings:
        """Returns the index of a file; it is built once."""
        if id(module) not in self._bindings:
            self._bindings[id(module)] = bindings_of(module)
        return self._bindings[id(module)]

    def made(self, module: Module, node: ast.expr) -> Made | None:
        """Returns where the set that an expression gives is made; None if it is not certainly a set whose order can vary."""
        try:
            found = self._made(module, node, frozenset(), DEPTH_MAX)
        except RecursionError:
            return None
        return found if found is not None and found.items != "ordered" else None

    # -- expressions --------------------------------------------------------------------------------------------------
    def _made(self, module: Module, node: ast.expr, followed: frozenset[object], depth: int) -> Made | None:
        if depth <= 0:
            return None
        below = depth - 1
        if isinstance(node, (ast.Set, ast.SetComp)):
            return Made(module, node, _items_of(node))
        if isinstance(node, ast.Call):
            return self._of_call(module, node, followed, below)
        if isinstance(node, ast.BinOp) and isinstance(node.op, _COMBINE):
            sides = [self._made(module, side, followed, below) for side in (node.left, node.right)]
            known = [side for side in sides if side is not None]
            views = [side for side in (node.left, node.right) if _is_view(side)]
            if len(known) + len(views) == 2:
                kinds = {side.items for side in known} or {"hashed"}
                return Made(
                    module, node, "ordered" if kinds == {"ordered"} else kinds.pop() if len(kinds) == 1 else "hashed"
                )
            # seen = seen | {"a"}: the other side is the name itself.
            selves = [
                side
                for side in (node.left, node.right)
                if isinstance(side, ast.Name) and self._key(module, side) in followed
            ]
            return known[0] if known and len(known) + len(selves) == 2 else None
        if isinstance(node, ast.IfExp):
            return self._agreed(module, [node.body, node.orelse], followed, below)
        if isinstance(node, ast.NamedExpr):
            return self._made(module, node.value, followed, below)
        if isinstance(node, ast.Name):
            return self._of_name(module, node, followed, below)
        if isinstance(node, ast.Attribute):
            return self._of_attribute(node, followed, below)
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
            return self._value_of_mapping(module, node.value, followed, below)
        return None

    def _of_call(self, module: Module, node: ast.Call, followed: frozenset[object], depth: int) -> Made | None:
        name = module.dotted(node.func)
        if name in SETS:
            return Made(module, node, _items_of(node))
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in _METHODS and (base := self._made(module, node.func.value, followed, depth)):
                return Made(module, node, base.items)
            if node.func.attr in ("get", "setdefault", "pop") and len(node.args) == 2:
                if self._made(module, node.args[1], followed, depth):
                    return Made(module, node.args[1], "hashed")
                return None
            if node.func.attr == "pop" and len(node.args) == 1:
                return self._value_of_mapping(module, node.func.value, followed, depth)
        short = name.rpartition(".")[2] or last_name(node.func)
        return self._of_function(short, followed, depth) if short else None

    def _of_function(self, name: str, followed: frozenset[object], depth: int) -> Made | None:
        """Returns the set that every function of this name returns."""
        key = ("function", name)
        found = [(m, function) for m in self.modules for function in self.bindings(m).functions.get(name, ())]
        if key in followed or not found or len(found) > 4:
            return None
        made: Made | None = None
        for module, function in found:
            values = self.bindings(module).returns.get(function, [])
            if not values:
                return None
            one = self._agreed(module, values, followed | {key}, depth)
            if one is None:
                return None
            made = made or one
        return made

    def _of_name(self, module: Module, node: ast.Name, followed: frozenset[object], depth: int) -> Made | None:
        key = self._key(module, node)
        if key in followed:
            return None
        bindings = self.bindings(module)
        followed = followed | {key}
        for scope in self._scopes(bindings, node):
            values, loops = bindings.values.get((scope, node.id)), bindings.loops.get((scope, node.id))
            annotation = bindings.annotations.get((scope, node.id))
            if values:
                return None if loops else self._agreed(module, values, followed, depth)
            if loops:
                found = [self._item_of(module, iterable, position, followed, depth) for iterable, position in loops]
                return found[0] if all(found) else None
            if annotation is not None:
                return Made(module, node, "hashed") if _names_set(annotation) else None
            if isinstance(scope, (*FUNCTIONS, ast.Lambda)) and node.id in _parameters(scope):
                return None
        origin, _, name = module.aliases.get(node.id, "").rpartition(".")
        return (
            self._imported(origin, name or node.id, followed, depth)
            if origin or node.id in module.aliases
            else self._from_module(module, node.id, followed, depth)
        )

    def _imported(self, origin: str, name: str, followed: frozenset[object], depth: int) -> Made | None:
        stem = origin.rpartition(".")[2]
        for other in self.modules:
            if (stem and other.path.stem == stem) or (other.path.stem == "__init__" and other.path.parent.name == stem):
                return self._from_module(other, name, followed, depth)
        return None

    def _from_module(self, module: Module, name: str, followed: frozenset[object], depth: int) -> Made | None:
        """Returns the set that a file's top level assigns to a name; a relative import leads to another file."""
        values = self.bindings(module).values.get((module.tree, name))
        if values:
            return self._agreed(module, values, followed, depth)
        for node in module.tree.body:
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                for item in node.names:
                    if (item.asname or item.name) == name and ("import", name) not in followed:
                        return self._imported(node.module, item.name, followed | {("import", name)}, depth)
        return None

    def _of_attribute(self, node: ast.Attribute, followed: frozenset[object], depth: int) -> Made | None:
        """Returns the set of `x.name` if all values that the program assigns to an attribute of this name are sets."""
        key = ("attribute", node.attr)
        if key in followed:
            return None
        made: Made | None = None
        for module in self.modules:
            bindings = self.bindings(module)
            for value in bindings.attributes.get(node.attr, ()):
                one = self._made(module, value, followed | {key}, depth)
                if one is None:
                    return None
                made = made or one
            if made is None and isinstance(node.value, ast.Name) and module.path.stem == node.value.id:
                made = self._from_module(module, node.attr, followed | {key}, depth)  # vocab.TAGS
        return made

    # -- mappings whose values are sets ---------------------------------------------------------------------------------
    def _value_of_mapping(self, module: Module, node: ast.expr, followed: frozenset[object], depth: int) -> Made | None:
        key = ("mapping", ast.dump(node) if isinstance(node, (ast.Name, ast.Attribute)) else id(node))
        if key in followed or depth <= 0:
            return None
        followed = followed | {key}
        name = last_name(node)
        if isinstance(node, ast.Name):
            bindings = self.bindings(module)
            values = next(
                (v for scope in self._scopes(bindings, node) if (v := bindings.values.get((scope, node.id)))), []
            )
        elif isinstance(node, ast.Attribute):
            values = [value for m in self.modules for value in self.bindings(m).attributes.get(node.attr, ())]
        else:
            values = [node]
        for value in values:
            if found := self._set_inside(module, value, followed, depth - 1):
                return found
        items = self.bindings(module).items.get(name, []) if name else []
        return self._agreed(module, items, followed, depth - 1) if items else None

    def _set_inside(self, module: Module, value: ast.expr, followed: frozenset[object], depth: int) -> Made | None:
        """Returns the set that each value of a mapping is: defaultdict(set), {k: {…}}, {k: set(…) for …}."""
        if isinstance(value, ast.Call) and module.dotted(value.func).endswith("defaultdict") and value.args:
            return Made(module, value, "hashed") if module.dotted(value.args[0]) in SETS else None
        if isinstance(value, ast.Dict) and value.values:
            return self._agreed(module, value.values, followed, depth)
        if isinstance(value, ast.DictComp):
            return self._made(module, value.value, followed, depth)
        return None

    def _item_of(
        self, module: Module, iterable: ast.expr, position: int | None, followed: frozenset[object], depth: int
    ) -> Made | None:
        """Returns the set that an item of an iterable is: d.values(), the second of d.items(), a list of sets."""
        if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Attribute):
            of = (iterable.func.attr, position)
            if of in (("values", None), ("items", 1)):
                return self._value_of_mapping(module, iterable.func.value, followed, depth)
        if isinstance(iterable, (ast.List, ast.Tuple)) and iterable.elts and position is None:
            return self._agreed(module, iterable.elts, followed, depth)
        return None

    # -- helpers --------------------------------------------------------------------------------------------------------
    def _agreed(
        self, module: Module, nodes: Iterable[ast.expr], followed: frozenset[object], depth: int
    ) -> Made | None:
        """Returns the first of these sets if all of them are sets. A value made of the name itself does not decide."""
        made: Made | None = None
        for node in nodes:
            if isinstance(node, ast.Name) and self._key(module, node) in followed:
                continue
            one = self._made(module, node, followed, depth)
            if one is None:
                if isinstance(node, ast.BinOp) and _mentions_followed(self, module, node, followed):
                    continue
                return None
            if made is None or (made.items == "ordered" and one.items != "ordered") or _is_empty(made.node):
                made = one
        return made

    def _key(self, module: Module, node: ast.Name) -> object:
        return ("name", id(module), id(self.bindings(module).scope(node)), node.id)

    def _scopes(self, bindings: Bindings, node: ast.AST) -> list[ast.AST]:
        """Returns the function around a node, the functions around that, and the file."""
        found = [bindings.scope(node)]
        while found[-1] is not bindings.module.tree and len(found) < DEPTH_MAX:
            parent = bindings.module.parents.get(found[-1])
            found.append(bindings.scope(parent) if parent is not None else bindings.module.tree)
        return found


def _mentions_followed(sets: Sets, module: Module, node: ast.BinOp, followed: frozenset[object]) -> bool:
    return isinstance(node.op, _COMBINE) and any(
        isinstance(side, ast.Name) and sets._key(module, side) in followed for side in (node.left, node.right)
    )


def _parameters(scope: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    arguments = scope.args
    return {one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}


def _is_view(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _VIEWS
        and not node.args
    )


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and not node.args


def _names_set(annotation: ast.expr) -> bool:
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    if isinstance(annotation, ast.Subscript) and _is_integer_type(annotation.slice):
        return False
    return last_name(base) in _ANNOTATIONS


def _is_integer_type(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("int", "bool")


def _items_of(node: ast.expr) -> Items:
    """Returns what a new set holds, from the expression that makes it."""
    if isinstance(node, ast.Set):
        integers = all(isinstance(item, ast.Constant) and isinstance(item.value, (int, bool)) for item in node.elts)
        return "ordered" if integers else "hashed"
    if isinstance(node, ast.SetComp):
        return _items_of_elements(node.elt, node.generators)
    if isinstance(node, ast.Call) and node.args:
        first = node.args[0]
        if isinstance(first, (ast.GeneratorExp, ast.ListComp)):
            return _items_of_elements(first.elt, first.generators)
        if isinstance(first, (ast.List, ast.Tuple)) and first.elts:
            return _items_of(ast.Set(elts=first.elts))
        return _items_of_iterable(first)
    return "hashed"


def _items_of_elements(element: ast.expr, generators: list[ast.comprehension]) -> Items:
    if isinstance(element, ast.Call) and last_name(element.func) in _INTEGERS | {"item"}:
        return "ordered"
    if (
        isinstance(element, ast.Name)
        and generators
        and any(isinstance(one.target, ast.Name) and one.target.id == element.id for one in generators)
    ):
        return _items_of_iterable(generators[-1].iter)
    return "hashed"


def _items_of_iterable(node: ast.expr) -> Items:
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        if name in _OBJECTS:
            return "objects"
        if name in _INTEGERS or name in _INTEGER_METHODS:
            return "ordered"
        if name in ("map",) and node.args and last_name(node.args[0]) in _INTEGERS:
            return "ordered"
        if name in ("list", "tuple", "sorted", "reversed", "filter") and node.args:
            return _items_of_iterable(node.args[-1])
    return "hashed"
