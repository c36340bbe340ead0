"""Finds in the source of a function what it shares with other threads: a generator that it draws from, or a container that it changes.

It reads names only and runs no code of the user. A name counts as shared if the function does not make it: a global, a name of an enclosing
function, an argument, or an attribute of `self`. Functions of the user that it calls by name or on `self` are read as well.
"""

from __future__ import annotations

import functools
import types
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set

from detctl_probe.process.source_trees import function_of, syntax, tree_of

DEPTH_MAX = 2
# Methods that change their object.
CHANGES = frozenset(
    ("append", "appendleft", "extend", "insert", "add", "update", "setdefault", "pop", "popleft", "remove", "put",
     "put_nowait", "execute", "executemany", "write", "writelines", "send", "step")
)  # fmt: skip
GENERATORS = ("numpy.random", "random", "torch", "torch._C")
MODULES = {"random": "random", "numpy.random": "numpy", "torch": "torch"}
GLOBAL = frozenset(MODULES.values())
# Packages of things that only show what happens.
SHOWING = ("tqdm", "logging", "rich", "torch.utils.tensorboard", "tensorboardX", "wandb", "progressbar")
DRAWS = frozenset(
    ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like", "randn_like")
)


class Shared(NamedTuple):
    """`call`: as it is written, such as `rows.append`. `generator`: the name of the shared generator; empty: something is changed."""

    call: str
    file: str
    line: int
    generator: str


def code_of(function: Any) -> Any:
    """The code of a Python function, a bound method or a partial of one; None for other callables."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__code__", None) or getattr(getattr(function, "__func__", None), "__code__", None)


def run_by(coroutine: Any) -> Any:
    """The function, or the bound method, that a coroutine runs which has not begun; None if that is not known."""
    code, frame = coroutine.cr_code, coroutine.cr_frame
    if frame is None:
        return None
    held = frame.f_locals
    if any(name not in held for name in code.co_freevars):
        return None
    cells = tuple(types.CellType(held[name]) for name in code.co_freevars)
    function = types.FunctionType(code, frame.f_globals, code.co_name, None, cells)
    first = code.co_varnames[0] if code.co_argcount else ""
    return types.MethodType(function, held["self"]) if first == "self" and "self" in held else function


def find(function: Any, is_user: Callable[[str], bool], only_global: bool = False) -> Optional[Shared]:
    """The first generator that a function shares with others, else the first thing that it changes; None if there is none.

    only_global: only a global generator, which is shared even if a single thread runs the function."""
    ast = syntax()
    if ast is None:
        return None
    found = list(_found(ast, function, is_user, DEPTH_MAX, set()))
    if only_global:
        found = [one for one in found if one.generator in GLOBAL]
    return next((one for one in found if one.generator), found[0] if found else None)


def _found(ast: Any, function: Any, is_user: Callable[[str], bool], depth: int, seen: Set[Any]) -> Iterator[Shared]:
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    function = getattr(function, "__func__", function)
    code: Any = getattr(function, "__code__", None)
    if not isinstance(function, types.FunctionType) or code in seen or not is_user(code.co_filename):
        return
    seen.add(code)
    body = _body(ast, code)
    if body is None:
        return
    names = _Names(function, owner)
    for node in body:
        for one in ast.walk(node):
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
                root = _dotted(ast, one.func.value)
                value = names.value(root) if root else None
                own = any(word.arg == "generator" for word in one.keywords)  # torch.randn(2, generator=g)
                if root and not own and (generator := _generator(root, value, one.func.attr)):
                    yield Shared("%s.%s" % (root, one.func.attr), code.co_filename, one.lineno, generator)
                elif root and one.func.attr in CHANGES and names.shared(root) and not _shows(value):
                    yield Shared("%s.%s" % (root, one.func.attr), code.co_filename, one.lineno, "")
                elif depth and root == names.self_name and owner is not None:
                    method = getattr(type(owner), one.func.attr, None)
                    if isinstance(method, types.FunctionType):
                        yield from _found(ast, types.MethodType(method, owner), is_user, depth - 1, seen)
            elif isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and depth:
                called = names.value(one.func.id)
                if isinstance(called, types.FunctionType):
                    yield from _found(ast, called, is_user, depth - 1, seen)
            elif isinstance(one, (ast.For, ast.AsyncFor)):
                root = _dotted(ast, one.iter)
                if root and _draws_from_torch(names.value(root)):
                    yield Shared("for … in %s" % root, code.co_filename, one.lineno, "torch")
            elif isinstance(one, (ast.Assign, ast.AugAssign)):
                targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                for target in targets:
                    inner = target.value if isinstance(target, (ast.Subscript, ast.Attribute)) else target
                    root = _dotted(ast, inner)
                    changed = isinstance(target, (ast.Subscript, ast.Attribute)) or root in names.declared(ast, body)
                    if root and changed and names.shared(root):
                        yield Shared(root, code.co_filename, one.lineno, "")


class _Names:
    """Names of a function: which of them it makes itself, and what the others stand for."""

    def __init__(self, function: Any, owner: Any) -> None:
        code = function.__code__
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
        arguments = code.co_varnames[:count]
        self._local = {*code.co_varnames[count:], *code.co_cellvars}
        self._function = function
        self._owner = owner
        self.self_name = arguments[0] if arguments and owner is not None else None
        self._cells = dict(zip(code.co_freevars, function.__closure__ or ()))  # noqa: B905 - Python 3.9

    def shared(self, dotted: str) -> bool:
        """Whether others may hold the same object."""
        return dotted.partition(".")[0] not in self._local

    def declared(self, ast: Any, body: List[Any]) -> Set[str]:
        """Names that the function declares `global` or `nonlocal`."""
        return {
            n for node in body for o in ast.walk(node) if isinstance(o, (ast.Global, ast.Nonlocal)) for n in o.names
        }

    def value(self, dotted: str) -> Any:
        """What a name stands for; None where it is local or unknown. No property is read."""
        first, *rest = dotted.split(".")
        if first == self.self_name:
            value: Any = self._owner
        elif first in self._cells:
            try:
                value = self._cells[first].cell_contents
            except ValueError:
                return None
        elif first in self._local:
            return None
        else:
            value = self._function.__globals__.get(first)
        for name in rest:
            held: Dict[str, Any] = getattr(value, "__dict__", None) or {}
            value = held.get(name)
        return value


def _draws_from_torch(value: Any) -> bool:
    """Whether an object is a DataLoader that draws from torch's global generator when it is iterated."""
    kind = type(value)
    return kind.__name__ == "DataLoader" and kind.__module__.startswith("torch.") and value.generator is None


def _shows(value: Any) -> bool:
    """Whether an object is a progress bar or a log."""
    return type(value).__module__.startswith(SHOWING)


def _generator(root: str, value: Any, method: str) -> str:
    """The name of the generator that a call draws from; empty if it does not draw."""
    if isinstance(value, types.ModuleType):
        name = MODULES.get(value.__name__, "")
        if not name or method.startswith(("seed", "default_rng", "Random", "set", "get", "manual")):
            return ""
        return name if name != "torch" or method in DRAWS else ""
    kind = type(value)
    if kind.__module__.startswith(GENERATORS) and kind.__name__ in ("Generator", "RandomState", "Random"):
        return root
    return ""


def _dotted(ast: Any, node: Any) -> str:
    """`self.rows` for an expression of names and attributes; the container's for `rows[i]`; empty for any other."""
    parts: List[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            node = node.value
            parts.clear()
        elif isinstance(node, ast.Name):
            return ".".join([node.id, *reversed(parts)])
        else:
            return ""


def _body(ast: Any, code: Any) -> Optional[List[Any]]:
    """The statements of a function's source; None where it cannot be read."""
    tree = tree_of(code.co_filename)
    if tree is None:
        return None
    if code.co_name == "<lambda>":
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
        return next(([node.body] for node in nodes if node.lineno == code.co_firstlineno), None)
    function = function_of(tree, code)
    return list(function.body) if function is not None else None
