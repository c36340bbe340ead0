"""Writes the line that removes a cause: the user's own line, changed. It returns nothing if no such line is known to work.

A fix is parsed again in its file before it is returned. Pure.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from detctl_proto.syntax.source.bindings import FUNCTIONS, last_name
from detctl_proto.syntax.source.module import Module
from detctl_proto.syntax.source.orders import OrderedUse, ordered_uses
from detctl_proto.syntax.source.sets import Sets

LINES_MAX = 12  # of a statement that is shown
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
_MAKES_GENERATOR = {
    "numpy.random.default_rng": "", "random.Random": "", "numpy.random.RandomState": "", "numpy.random.SeedSequence": "",
}  # fmt: skip
_RANDOM_STATE = frozenset(
    {
        "train_test_split", "KFold", "StratifiedKFold", "ShuffleSplit", "StratifiedShuffleSplit", "GroupShuffleSplit", "shuffle",
        "resample", "RandomForestClassifier", "RandomForestRegressor", "KMeans", "sample",
    }
)  # fmt: skip
_SEEDINGS = frozenset(
    {
        "random.seed", "numpy.random.seed", "torch.manual_seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all",
        "torch.random.manual_seed", *_MAKES_GENERATOR,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Fix:
    """A replaced statement, or the head of one. old, new: its lines as they are and as they should be. imports: modules that the new
    lines need and the file lacks. expression: the part that is new, as `sorted(unique_tags)`."""

    line: int
    end_line: int
    old: tuple[str, ...]
    new: tuple[str, ...]
    expression: str = ""
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Edit:
    """Replaces the source of a node by a text, in which {} is the old source. after: lines that follow the head of a loop."""

    node: ast.AST
    text: str
    after: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


def fix_of(cause: str, sets: Sets, module: Module, source: str, line: int, *, call: str = "") -> Fix | None:
    """Returns the fix of a cause at a line of a file; `call`: the dotted name of the call that the probe saw there."""
    maker = _MAKERS.get(cause)
    if maker is None:
        return None
    try:
        edits = list(maker(sets, module, line, call))
        return _applied(module, source, edits) if edits else None
    except (RecursionError, ValueError, SyntaxError):
        return None


def statement_at(module: Module, line: int) -> ast.stmt | None:
    """Returns the innermost statement that covers a line; of a compound statement only its head counts."""
    found: ast.stmt | None = None
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.stmt) or not node.lineno <= line <= head_end(node):
            continue
        if found is None or (node.lineno, -head_end(node)) >= (found.lineno, -head_end(found)):
            found = node
    return found


def head_end(node: ast.stmt) -> int:
    """Returns the last line of a statement, or of its head if it has a body."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
        return max(node.lineno, body[0].lineno - 1) if body[0].lineno > node.lineno else node.lineno
    return node.end_lineno or node.lineno


def head_lines(source_lines: list[str], node: ast.stmt) -> tuple[int, int]:
    """Returns the first and last line of a statement's own text, without comments and blank lines below its head."""
    end = head_end(node)
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        while end > node.lineno and not source_lines[end - 1].split("#")[0].rstrip().endswith(":"):
            end -= 1
    return node.lineno, end


# -- filesystem-order -------------------------------------------------------------------------------------------------------------
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


def _listing(sets: Sets, module: Module, line: int, call: str) -> Iterator[_Edit]:
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
    for node in _own_nodes(statement):  # an iterator that is made elsewhere, and used here
        used = _iterated_name(module, node)
        if used is None:
            continue
        made = _listing_behind(sets, module, used)
        if made is not None and not _is_sorted(module, used):
            yield from _sorted_listing(module, used, listing_name(module, made))
            return


def _listing_calls(module: Module, statement: ast.stmt) -> list[ast.Call]:
    return [node for node in _own_nodes(statement) if isinstance(node, ast.Call) and listing_name(module, node)]


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


def _unequal_keys(module: Module, calls: list[ast.Call]) -> Iterator[_Edit]:
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
                yield _Edit(key.body, f"({ast.unparse(key.body)}, {key.args.args[0].arg}{of})")
            elif isinstance(key, (ast.Name, ast.Attribute)):
                yield _Edit(key, f"lambda name: ({ast.unparse(key)}(name), name{of})")
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


def _sorted_listing(module: Module, node: ast.expr, name: str) -> Iterator[_Edit]:
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
            yield _Edit(parent, _wrapped(module, node, f"sorted({{}}{key})"))
            return
        if outer in ("next", "iter"):
            wrap = f"iter(sorted({{}}{key}))" if outer == "next" else f"sorted({{}}{key})"
            yield _Edit(node, wrap)
            return
    if _is_advanced(module, node, name):
        return
    yield _Edit(node, f"sorted({{}}{key})")


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


def _sorted_walk(module: Module, node: ast.expr) -> Iterator[_Edit]:
    parent = module.parents.get(node)
    if isinstance(parent, (ast.For, ast.AsyncFor)) and parent.iter is node and isinstance(parent.target, ast.Tuple):
        names = parent.target.elts[1:3]
        if len(names) == 2 and all(isinstance(one, ast.Name) for one in names):
            folders, files = (one.id for one in names if isinstance(one, ast.Name))
            sorting = [f"{folders}.sort()"] + ([f"{files}.sort()"] if files not in ("_", "__", folders) else [])
            yield _Edit(parent, "{}", tuple(line for line in sorting))
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
                yield _Edit(around.func, "sorted")
            elif isinstance(outer, ast.ListComp):
                yield _Edit(outer, "sorted({})")


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


# -- hash-order ---------------------------------------------------------------------------------------------------------------------
def _hashed(sets: Sets, module: Module, line: int, call: str) -> Iterator[_Edit]:
    uses = [use for use in ordered_uses(sets) if use.module is module and use.line == line]
    if not uses:
        statement = statement_at(module, line)
        uses = [
            use for use in ordered_uses(sets)
            if statement is not None and use.module is module and statement.lineno <= use.line <= head_end(statement)
        ]  # fmt: skip
    for use in uses[:1]:
        yield from edits_of_use(module, use)


def edits_of_use(module: Module, use: OrderedUse) -> Iterator[_Edit]:
    """Yields the edit that makes one place independent of hashes."""
    if use.kind == "hash":
        yield from _stable_hash(module, use.node)
        return
    parent = module.parents.get(use.node)
    wrap = "dict.fromkeys({})" if use.items == "objects" else "sorted({})"
    if use.items == "objects":
        if isinstance(use.node, ast.Call) and module.dotted(use.node.func) == "set" and len(use.node.args) == 1:
            yield _Edit(use.node.func, "dict.fromkeys")
        return
    if use.kind == "taken":
        yield from _taken(module, use.node)
        return
    if isinstance(parent, ast.Call) and parent.args == [use.node] and not parent.keywords:
        outer = module.dotted(parent.func)
        if outer == "list":
            yield _Edit(parent, _wrapped(module, use.node, wrap))
            return
        if outer == "iter":
            yield _Edit(use.node, wrap)
            return
    yield _Edit(use.node, wrap)


def _taken(module: Module, node: ast.expr) -> Iterator[_Edit]:
    """One item: next(iter(s)) becomes min(s); x = s.pop() becomes two lines."""
    parent = module.parents.get(node)
    call = module.parents.get(parent) if isinstance(parent, ast.Attribute) else parent
    if isinstance(call, ast.Call) and module.dotted(call.func) == "iter":
        outer = module.parents.get(call)
        if isinstance(outer, ast.Call) and module.dotted(outer.func) == "next" and len(outer.args) == 1:
            yield _Edit(outer, _wrapped(module, node, "min({})"))
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
            yield _Edit(statement, f"{name} = min({of})\n{of}.remove({name})")


def _stable_hash(module: Module, node: ast.expr) -> Iterator[_Edit]:
    if not isinstance(node, ast.Call) or len(node.args) != 1:
        return
    argument = ast.unparse(node.args[0])
    text = isinstance(node.args[0], ast.JoinedStr) or (
        isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    )
    as_text = argument if text else f"str({argument})"
    if "zlib" in module.aliases.values() and "zlib" in module.aliases:
        yield _Edit(node, f"zlib.crc32({as_text}.encode())")
    elif "hashlib" in module.aliases:
        yield _Edit(node, f"int(hashlib.sha256({as_text}.encode()).hexdigest(), 16)")
    else:
        yield _Edit(node, f"zlib.crc32({as_text}.encode())", imports=("zlib",))


# -- seeds ----------------------------------------------------------------------------------------------------------------------------
def _seeded(sets: Sets, module: Module, line: int, call: str) -> Iterator[_Edit]:
    """Gives a seed to the call that makes a generator, or that takes a random_state."""
    statement = statement_at(module, line)
    if statement is None:
        return
    for node in _own_nodes(statement):
        if not isinstance(node, ast.Call):
            continue
        name = module.dotted(node.func)
        short = name.rpartition(".")[2] or last_name(node.func)
        given = {keyword.arg for keyword in node.keywords}
        if None in given:
            continue
        seed = _seed_name(sets, module, node)
        if name in _MAKES_GENERATOR and not _has_seed(node):
            yield _Edit(node, f"{ast.unparse(node.func)}({seed})")
            return
        if name == "torch.Generator" and not _seeded_on(module, node):
            yield _Edit(node, f"{{}}.manual_seed({seed})")
            return
        if name.rpartition(".")[2] == "random_split" and "generator" not in given and len(node.args) == 2:
            made = "Generator" if module.aliases.get("Generator") == "torch.Generator" else "torch.Generator"
            if made != "torch.Generator" or module.aliases.get("torch") == "torch":
                yield _Edit(node, _with_argument(node, f"generator={made}().manual_seed({seed})"))
                return
        if short in _RANDOM_STATE and "random_state" not in given and _takes_random_state(module, name, node):
            yield _Edit(node, _with_argument(node, f"random_state={seed}"))
            return


def _takes_random_state(module: Module, name: str, node: ast.Call) -> bool:
    if name.startswith("sklearn."):
        return True
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "sample"
        and any(k.arg == "frac" for k in node.keywords)
    )


def _constant_seed(sets: Sets, module: Module, line: int, call: str) -> Iterator[_Edit]:
    """Replaces what a seeding call takes from the clock, the process, the host or a path."""
    statement = statement_at(module, line)
    for node in _own_nodes(statement) if statement is not None else ():
        if not isinstance(node, ast.Call):
            continue
        name = module.dotted(node.func)
        method = isinstance(node.func, ast.Attribute) and node.func.attr == "manual_seed"
        if (name in _SEEDINGS or method) and len(node.args) + len(node.keywords) <= 1:
            given = node.args[0] if node.args else node.keywords[0].value if node.keywords else None
            if given is None or _has_call(given) or (isinstance(given, ast.Constant) and given.value is None):
                yield _Edit(node, f"{ast.unparse(node.func)}({_seed_name(sets, module, node, avoid=given)})")
                return
            # seed = int(time.time()); torch.manual_seed(seed)
            bindings = sets.bindings(module)
            values = bindings.values.get((bindings.scope(node), given.id), []) if isinstance(given, ast.Name) else []
            if len(values) == 1 and _has_call(values[0]):
                yield _Edit(values[0], "0")
                return


def _has_call(node: ast.expr) -> bool:
    return any(isinstance(inner, ast.Call) for inner in ast.walk(node))


def _with_argument(node: ast.Call, text: str) -> str:
    given = [ast.unparse(one) for one in node.args] + [ast.unparse(one) for one in node.keywords]
    return f"{ast.unparse(node.func)}({', '.join([*given, text])})"


def _has_seed(node: ast.Call) -> bool:
    values = [*node.args, *(keyword.value for keyword in node.keywords)]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in values)


def _seeded_on(module: Module, node: ast.Call) -> bool:
    parent = module.parents.get(node)
    return isinstance(parent, ast.Attribute) and parent.attr in ("manual_seed", "set_state")


def _seed_name(sets: Sets, module: Module, node: ast.AST, avoid: ast.expr | None = None) -> str:
    """Returns the name of a constant seed that is in scope there, else 0."""
    avoided = {last_name(one) for one in ast.walk(avoid)} if avoid is not None else set()
    for statement in module.tree.body:
        if (
            isinstance(statement, ast.Assign)
            and statement.lineno < getattr(node, "lineno", 0)
            and _is_whole(statement.value)
        ):
            for target in statement.targets:
                if isinstance(target, ast.Name) and "seed" in target.id.lower() and target.id not in avoided:
                    return target.id
    return "0"


def _is_whole(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool)


# -- concurrency ----------------------------------------------------------------------------------------------------------------------
def _in_order(sets: Sets, module: Module, line: int, call: str) -> Iterator[_Edit]:
    """Takes results in the order of submission: map for imap_unordered, the futures themselves for as_completed."""
    statement = statement_at(module, line)
    for node in _own_nodes(statement) if statement is not None else ():
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "imap_unordered":
            yield _Edit(node.func, f"{ast.unparse(node.func.value)}.imap")
            return
        if not module.dotted(node.func).endswith("as_completed") or len(node.args) != 1 or node.keywords:
            continue
        given = node.args[0]
        if isinstance(given, (ast.Name, ast.Attribute, ast.ListComp)) and not sets.made(module, given):
            yield _Edit(node, ast.unparse(given))
            return


# -- edits ----------------------------------------------------------------------------------------------------------------------------
Maker = Callable[[Sets, Module, int, str], Iterator[_Edit]]
_MAKERS: dict[str, Maker] = {
    "filesystem-order": _listing,
    "hash-order": _hashed,
    "unseeded-rng": _seeded,
    "worker-seeding": _seeded,
    "identity-seed": _constant_seed,
    "concurrency": _in_order,
}
CAUSES = tuple(_MAKERS)


def _own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yields the nodes of a statement without those of its body."""
    bodies = {
        id(inner)
        for name in ("body", "orelse", "finalbody", "handlers")
        if isinstance(items := getattr(statement, name, None), list)
        for inner in items
    }
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, (ast.Lambda, *FUNCTIONS)) or node is statement:
            waiting += [child for child in ast.iter_child_nodes(node) if id(child) not in bodies]


def _wrapped(module: Module, node: ast.expr, template: str) -> str:
    """Returns the template with a mark for the node's own source; see _applied."""
    return template.replace("{}", f"\0{node.lineno}:{node.col_offset}:{node.end_lineno}:{node.end_col_offset}\0")


def _applied(module: Module, source: str, edits: list[_Edit]) -> Fix | None:
    lines = source.splitlines()
    raw = [line.encode("utf-8", "surrogatepass") for line in lines]

    def segment(line: int, column: int, end_line: int, end_column: int) -> str:
        if line == end_line:
            return raw[line - 1][column:end_column].decode("utf-8", "surrogatepass")
        middle = [row.decode("utf-8", "surrogatepass") for row in raw[line : end_line - 1]]
        first = raw[line - 1][column:].decode("utf-8", "surrogatepass")
        last = raw[end_line - 1][:end_column].decode("utf-8", "surrogatepass")
        return "\n".join([first, *middle, last])

    statement = next(
        (outer for outer in (edits[0].node, *module.ancestors(edits[0].node)) if isinstance(outer, ast.stmt)), None
    )
    if statement is None:
        return None
    start, end = head_lines(lines, statement)
    if end - start >= LINES_MAX:
        return None
    after = edits[0].after
    imports = tuple(name for edit in edits for name in edit.imports)
    shown = ""
    if after:
        body = getattr(statement, "body", None)
        if not body or body[0].lineno <= end:
            return None
        indent = lines[body[0].lineno - 1][: body[0].col_offset]
        new_lines = [*lines[:end], *(indent + line for line in after), *lines[end:]]
        new = [*lines[start - 1 : end], *(indent + line for line in after)]
        shown = "; ".join(after)
    else:
        changed = list(raw)
        tail_after = len(raw) - end
        for edit in sorted(edits, key=lambda one: (-one.node.lineno, -one.node.col_offset)):  # type: ignore[attr-defined]
            node = edit.node
            place = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
            text = edit.text.replace("{}", segment(*place))
            if "\0" in text:
                head, mark, tail = text.split("\0")
                text = head + segment(*(int(number) for number in mark.split(":"))) + tail
            if "\n" in edit.text:  # several statements
                text = textwrap.indent(text, lines[place[0] - 1][: place[1]]).lstrip()
            shown = text
            first, last = changed[place[0] - 1][: place[1]], changed[place[2] - 1][place[3] :]
            replaced = first + text.encode("utf-8", "surrogatepass") + last
            changed[place[0] - 1 : place[2]] = replaced.split(b"\n")
        new_lines = [row.decode("utf-8", "surrogatepass") for row in changed]
        new = new_lines[start - 1 : len(new_lines) - tail_after]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ast.parse("\n".join(new_lines) + "\n")
    old = lines[start - 1 : end]
    if new == old:
        return None
    return Fix(start, end, tuple(old), tuple(new), shown if "\n" not in shown else "", imports)
