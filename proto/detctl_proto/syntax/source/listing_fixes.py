"""Sorts the names of a folder where a statement lists them. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from detctl_proto.syntax.source.bindings import last_name
from detctl_proto.syntax.source.edits import Edit, wrapped
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.sets import Sets
from detctl_proto.syntax.source.statements import own_nodes, statement_at

LISTING_FUNCTIONS = frozenset({"os.listdir", "os.scandir", "glob.glob", "glob.iglob", "os.walk", "os.fwalk"})
LISTING_METHODS = frozenset({"iterdir", "glob", "rglob", "walk"})
_SORTING = frozenset(
    {"sorted", "natsort.natsorted", "natsort.os_sorted", "natsort.humansorted", "min", "max", "set", "frozenset", "len"}
)
_ITERATORS = frozenset({"glob.iglob", "os.scandir"})
# Expressions whose values can certainly be compared.
_TEXT_CALLS = frozenset(
    {"str", "os.path.join", "os.path.basename", "os.path.abspath", "pathlib.Path", "Path", "os.fspath", "int", "float"}
)


def listing_name(module: Module, call: ast.Call) -> str:
    """Returns `os.listdir` or `Path.iterdir` for a call that lists a folder, else an empty text."""
    name = module.dotted(call.func)
    if name in LISTING_FUNCTIONS:
        return name
    if isinstance(call.func, ast.Attribute) and call.func.attr in LISTING_METHODS:
        if call.func.attr == "walk" and not name.startswith("pathlib."):
            return "os.walk" if name == "os.walk" else ""
        return "" if name.startswith(("glob.", "re.")) else f"Path.{call.func.attr}"
    return ""


def sorted_listings(sets: Sets, module: Module, line: int) -> Iterator[Edit]:
    statement = statement_at(module, line)
    if statement is None:
        return
    if _sorted_next(module, statement):
        return
    listed = _listing_calls(module, statement)
    calls = [found for found in listed if not _is_sorted(module, found)]
    if not calls:
        yield from _unequal_keys(module, [found for found in listed if not _is_sorted(module, found, with_key=False)])
    if calls:
        for found in calls:
            yield from _sorted_listing(module, found, listing_name(module, found))
        return
    for node in own_nodes(statement):  # an iterator that is made elsewhere, and used here
        used = _iterated_name(module, node)
        if used is None:
            continue
        made = _listing_behind(sets, module, used)
        if made is not None and not _is_sorted(module, used):
            yield from _sorted_listing(module, used, listing_name(module, made))
            return


def _listing_calls(module: Module, statement: ast.stmt) -> list[ast.Call]:
    return [node for node in own_nodes(statement) if isinstance(node, ast.Call) and listing_name(module, node)]


def loses_order(module: Module, line: int) -> bool:
    """Returns whether a statement lists folders and makes the order of the names irrelevant: by sorted without a key, len, a set, or
    because the next statement that uses the names sorts them."""
    statement = statement_at(module, line)
    calls = _listing_calls(module, statement) if statement is not None else []
    if statement is None or not calls:
        return False
    return _sorted_next(module, statement) or all(_is_sorted(module, call, with_key=False) for call in calls)


def _sorted_next(module: Module, statement: ast.stmt) -> bool:
    """Returns whether the names that a statement assigns are sorted where they are first used: names.sort(), names = sorted(names)."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return False
    target, around = statement.targets[0], module.parents.get(statement)
    body: list[ast.stmt] = next(
        (rows for name in ("body", "orelse", "finalbody") if statement in (rows := getattr(around, name, None) or [])),
        [],
    )
    for following in body[body.index(statement) + 1 :] if statement in body else ():
        if not any(isinstance(one, ast.expr) and Module.same(one, target) for one in ast.walk(following)):
            continue
        call = following.value if isinstance(following, (ast.Expr, ast.Assign)) else None
        if not isinstance(call, ast.Call) or any(keyword.arg in ("key", "alg") for keyword in call.keywords):
            return False
        if isinstance(following, ast.Expr):
            method = call.func
            return isinstance(method, ast.Attribute) and method.attr == "sort" and Module.same(method.value, target)
        rebound = isinstance(following, ast.Assign) and [Module.same(one, target) for one in following.targets] == [
            True
        ]
        return (
            rebound
            and module.dotted(call.func) == "sorted"
            and len(call.args) == 1
            and Module.same(call.args[0], target)
        )
    return False


def _unequal_keys(module: Module, calls: list[ast.Call]) -> Iterator[Edit]:
    """Adds the name to the key by which names are sorted: names with equal keys stay in the order of the listing."""
    for call in calls:
        for outer in module.ancestors(call):
            if not (isinstance(outer, ast.Call) and module.dotted(outer.func) == "sorted" and outer.args):
                continue
            key = next((one.value for one in outer.keywords if one.arg == "key"), None)
            if not _gives_names(module, outer.args[0], call) or key is None or "time" in ast.unparse(key):
                return  # copies have other times, so that a name beside the time would change nothing
            of = ".name" if listing_name(module, call) == "os.scandir" else ""
            if isinstance(key, ast.Lambda) and len(key.args.args) == 1:
                yield Edit(key.body, f"({ast.unparse(key.body)}, {key.args.args[0].arg}{of})")
            elif isinstance(key, (ast.Name, ast.Attribute)):
                yield Edit(key, f"lambda name: ({ast.unparse(key)}(name), name{of})")
            return


def _gives_names(module: Module, node: ast.expr, call: ast.Call) -> bool:
    """Returns whether an expression holds the names or paths of a listing, which can be compared."""
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return _comparable(module, node.elt)
    return node is call or (isinstance(node, ast.Call) and module.dotted(node.func) == "list" and node.args == [call])


def _iterated_name(module: Module, node: ast.AST) -> ast.expr | None:
    iterable: ast.expr | None = None
    if isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
        iterable = node.iter
    elif isinstance(node, ast.Call) and module.dotted(node.func) in (
        "list",
        "tuple",
        "enumerate",
        "map",
        "zip",
        "filter",
        "next",
    ):
        iterable = node.args[-1] if node.args else None
    if (
        isinstance(iterable, ast.Call)
        and iterable.args
        and module.dotted(iterable.func) in ("enumerate", "tqdm.tqdm", "zip")
    ):
        iterable = iterable.args[0]
    return iterable if isinstance(iterable, (ast.Name, ast.Attribute)) else None


def _listing_behind(sets: Sets, module: Module, node: ast.expr) -> ast.Call | None:
    """Returns the listing that a name is bound to: entries = os.scandir(d), with os.scandir(d) as entries."""
    bindings = sets.bindings(module)
    if isinstance(node, ast.Name):
        scope = bindings.scope(node)
        values = bindings.values.get((scope, node.id)) or bindings.values.get((module.tree, node.id)) or []
    else:
        values = bindings.attributes.get(last_name(node), [])
    return next((value for value in values if isinstance(value, ast.Call) and listing_name(module, value)), None)


def _sorted_listing(module: Module, node: ast.expr, name: str) -> Iterator[Edit]:
    parent = module.parents.get(node)
    if name in ("os.walk", "os.fwalk", "Path.walk"):
        yield from _sorted_walk(module, node)
        return
    key = ", key=lambda entry: entry.name" if name == "os.scandir" else ""
    if isinstance(parent, ast.withitem) and parent.context_expr is node:
        return  # the loop over it is what must be sorted
    if isinstance(parent, ast.Call) and parent.args[:1] == [node] and not parent.keywords:
        outer = module.dotted(parent.func)
        if outer == "list" and len(parent.args) == 1:
            yield Edit(parent, wrapped(node, f"sorted({{}}{key})"))
            return
        if outer in ("next", "iter"):
            wrap = f"iter(sorted({{}}{key}))" if outer == "next" else f"sorted({{}}{key})"
            yield Edit(node, wrap)
            return
    if _is_advanced(module, node, name):
        return
    yield Edit(node, f"sorted({{}}{key})")


def _is_advanced(module: Module, node: ast.expr, name: str) -> bool:
    """Returns whether next() is called on the iterator, or close(): a list has neither."""
    parent = module.parents.get(node)
    if not (name in _ITERATORS or name.startswith("Path.")) or not isinstance(parent, (ast.Assign, ast.NamedExpr)):
        return False
    targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
    names = {last_name(target) for target in targets}
    for call, called in module.calls():
        if called == "next" and call.args and last_name(call.args[0]) in names:
            return True
        if isinstance(call.func, ast.Attribute) and call.func.attr == "close" and last_name(call.func.value) in names:
            return True
    return any(isinstance(one, ast.withitem) and last_name(one.context_expr) in names for one in ast.walk(module.tree))


def _sorted_walk(module: Module, node: ast.expr) -> Iterator[Edit]:
    parent = module.parents.get(node)
    if isinstance(parent, (ast.For, ast.AsyncFor)) and parent.iter is node and isinstance(parent.target, ast.Tuple):
        names = parent.target.elts[1:3]
        if len(names) == 2 and all(isinstance(one, ast.Name) for one in names):
            folders, files = (one.id for one in names if isinstance(one, ast.Name))
            sorting = [f"{folders}.sort()"] + ([f"{files}.sort()"] if files not in ("_", "__", folders) else [])
            yield Edit(parent, "{}", tuple(line for line in sorting))
        return
    if isinstance(parent, ast.comprehension):
        outer = module.parents.get(parent)
        if (
            isinstance(outer, (ast.ListComp, ast.GeneratorExp))
            and not _is_sorted(module, outer)
            and _comparable(module, outer.elt)
        ):
            around = module.parents.get(outer)
            if (
                isinstance(outer, ast.GeneratorExp)
                and isinstance(around, ast.Call)
                and module.dotted(around.func) == "list"
            ):
                yield Edit(around.func, "sorted")
            elif isinstance(outer, ast.ListComp):
                yield Edit(outer, "sorted({})")


def _comparable(module: Module, node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(_comparable(module, one) for one in node.elts[:1])
    if isinstance(node, ast.Call):
        return module.dotted(node.func) in _TEXT_CALLS
    return isinstance(node, (ast.Name, ast.JoinedStr, ast.BinOp))


def _is_sorted(module: Module, node: ast.AST, *, with_key: bool = True) -> bool:
    """Returns whether the order of the value is made good in the same statement, or lost. with_key: whether sorting by a key counts."""
    for outer in module.ancestors(node):
        if isinstance(outer, ast.Call) and module.dotted(outer.func) in _SORTING and node is not outer.func:
            return with_key or not any(keyword.arg in ("key", "alg") for keyword in outer.keywords)
        if isinstance(outer, ast.stmt):
            return isinstance(outer, ast.For) and _sorts_in_head(module, outer)
    return False


def _sorts_in_head(module: Module, loop: ast.For) -> bool:
    """Returns whether a loop over os.walk already sorts folders and files."""
    if not isinstance(loop.target, ast.Tuple):
        return False
    names = {one.id for one in loop.target.elts[1:3] if isinstance(one, ast.Name) and not one.id.startswith("_")}
    done: set[str] = set()
    for node in ast.walk(loop):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sort":
            done.add(last_name(node.func.value))
        elif isinstance(node, ast.Call) and module.dotted(node.func) == "sorted" and node.args:
            done.add(last_name(node.args[0]))
    return bool(names) and names <= done
