"""Finds the set, or the sort by address, through which the parameters of an optimizer went before they reached it.

A set of tensors or modules is ordered by their addresses, and a set of strings by their hashes: both differ from process to process. A set
that is still a variable of a calling function, and that holds the optimizer's parameters, their modules or their names, is `seen`. What
the source alone shows (`list(set(…))`, `sorted(…, key=id)`) in a calling function, or in one that it calls, is not.
"""

from __future__ import annotations

import ast
import linecache
from types import CodeType, FrameType
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

FRAMES_MAX = 8
ELEMENTS_MAX = 20_000
SOURCE_BYTES_MAX = 1 << 20
_SETS = ("set", "frozenset")
_TAKES_ORDER = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "chain")

Found = Dict[str, Any]
Scope = Any  # a function's or a module's syntax tree


def find(frames: Sequence[FrameType], parameters: Sequence[Any], torch: Any) -> List[Found]:
    """What ordered the parameters of a group, innermost first: `elements` (tensor, module, str, unknown), `seen`, `line`, `code` (the
    line), `expression` (the part of it that makes the order) and `argument` (what that is made of). Empty: nothing was found."""
    seen = [one for frame in frames[:FRAMES_MAX] for one in _in_variables(frame, parameters, torch)]
    return seen or list(_in_source(frames[:FRAMES_MAX]))


# -- sets that still exist -------------------------------------------------------------------------------------------------


def _in_variables(frame: FrameType, parameters: Sequence[Any], torch: Any) -> Iterator[Found]:
    variables = dict(frame.f_locals)
    owner = variables.get("self")
    own = getattr(owner, "__dict__", None)
    if isinstance(own, dict) and not isinstance(owner, (torch.optim.Optimizer, torch.nn.Module)):
        variables.update({"self.%s" % name: value for name, value in own.items() if isinstance(name, str)})
    sets = {name: value for name, value in variables.items() if type(value) in (set, frozenset)}
    if not sets:
        return
    owned = {id(parameter) for parameter in parameters}
    names = _names(variables.values(), owned, torch)
    for name, value in sets.items():
        elements = _elements(value, owned, names, torch)
        if elements:
            place = _place(frame.f_code, name)
            if place is not None:
                yield {"elements": elements, "seen": True, "name": name, "frame": frame, **place}


def _names(values: Any, owned: Set[int], torch: Any) -> Set[str]:
    """Names of the parameters, in the dictionaries and the modules that a function holds."""
    found: Set[str] = set()
    for value in list(values):
        if type(value) is dict and len(value) <= ELEMENTS_MAX:
            found.update(key for key, item in value.items() if isinstance(key, str) and id(item) in owned)
        elif isinstance(value, torch.nn.Module):
            found.update(name for name, parameter in value.named_parameters() if id(parameter) in owned)
    return found


def _elements(value: Any, owned: Set[int], names: Set[str], torch: Any) -> str:
    """What a set holds of the optimizer's parameters; empty: fewer than two."""
    counts = {"tensor": 0, "module": 0, "str": 0}
    for count, element in enumerate(value):
        if count >= ELEMENTS_MAX:
            break
        parts = element if type(element) is tuple else (element,)
        for part in parts:
            if isinstance(part, torch.Tensor):
                counts["tensor"] += id(part) in owned
            elif isinstance(part, torch.nn.Module):
                counts["module"] += any(id(one) in owned for one in part._parameters.values())
            elif isinstance(part, str):
                counts["str"] += part in names
    kind = max(counts, key=lambda one: counts[one])
    return kind if counts[kind] > 1 else ""


def _place(code: CodeType, name: str) -> Optional[Found]:
    """Where a function fills this set from something, or else where it takes the set's order."""
    scope = _scope(code)
    if scope is None:
        return None
    is_plain = not _has_other_uses(scope, name)
    for node in _walk(scope):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and is_plain:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(_dotted(target) == name for target in targets) and _makes_set(node.value):
                return _described(code, node.value, node.value)
    for node, used in _orders(scope):
        if _dotted(used) == name:
            return _described(code, used, used, node)
    return None


def _has_other_uses(scope: Scope, name: str) -> bool:
    """Whether a function uses a set as only a set can be used: a list in its place would not do."""
    for node in _walk(scope):
        if isinstance(node, ast.Attribute) and _dotted(node.value) == name:
            return True
        if isinstance(node, ast.BinOp) and name in (_dotted(node.left), _dotted(node.right)):
            return True
    return False


# -- what the source shows -------------------------------------------------------------------------------------------------


def _in_source(frames: Sequence[FrameType]) -> Iterator[Found]:
    done: Set[CodeType] = set()
    for frame in frames:
        for code in _with_called(frame):
            if code in done:
                continue
            done.add(code)
            scope = _scope(code)
            for node, used in _orders(scope) if scope is not None else ():
                if _makes_set(used):
                    yield {"elements": "unknown", "seen": False, "frame": frame, **_described(code, used, used, node)}
            for call in _walk(scope) if scope is not None else ():
                if isinstance(call, ast.Call) and any(_is_by_address(word) for word in call.keywords):
                    place = _described(code, call, call)
                    yield {"elements": "tensor", "seen": False, "frame": frame, **place, "expression": "key=id"}


def _with_called(frame: FrameType) -> Iterator[CodeType]:
    """A frame's function, and the functions that it calls by a plain name."""
    yield frame.f_code
    names = frame.f_code.co_names
    for name in names:
        called = frame.f_globals.get(name)
        code = getattr(called, "__code__", None)
        if isinstance(code, CodeType) and code.co_filename == frame.f_code.co_filename:
            yield code
        elif isinstance(code, CodeType) and "-packages" not in code.co_filename:
            yield code


def _is_by_address(word: ast.keyword) -> bool:
    return word.arg == "key" and isinstance(word.value, ast.Name) and word.value.id == "id"


def _makes_set(node: ast.AST) -> bool:
    if isinstance(node, (ast.SetComp, ast.Set)):
        return True
    return isinstance(node, ast.Call) and _dotted(node.func) in _SETS and bool(node.args)


def _orders(scope: Scope) -> Iterator[Tuple[ast.AST, ast.expr]]:
    """(node, what it iterates over) of each loop, comprehension and call that takes the order of something."""
    for node in _walk(scope):
        if isinstance(node, ast.For):
            yield node, node.iter
        elif isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
            for part in node.generators:
                yield part.iter, part.iter
        elif isinstance(node, ast.Call):
            name = _dotted(node.func)
            if name.rpartition(".")[2] in _TAKES_ORDER:
                for argument in node.args:
                    yield node, argument
            elif _takes_parameters(node):
                yield node, node.args[0]
        elif isinstance(node, ast.Starred):
            yield node, node.value


def _takes_parameters(call: ast.Call) -> bool:
    """Whether a call looks like that of an optimizer's class."""
    name = _dotted(call.func).rpartition(".")[2]
    return bool(call.args) and name[:1].isupper() and any(word.arg in ("lr", "weight_decay") for word in call.keywords)


# -- source ----------------------------------------------------------------------------------------------------------------

_trees: Dict[str, Optional[ast.AST]] = {}


def tree_of(file: str) -> Optional[ast.AST]:
    """The syntax tree of a source file, kept; None if it cannot be read."""
    if file not in _trees:
        text = "".join(linecache.getlines(file))
        try:
            _trees[file] = ast.parse(text) if 0 < len(text) <= SOURCE_BYTES_MAX else None
        except (SyntaxError, ValueError, RecursionError):
            _trees[file] = None
    return _trees[file]


def forget_trees() -> None:
    """Frees the syntax trees: they are needed before the first step only."""
    _trees.clear()


def _scope(code: CodeType) -> Scope:
    tree = tree_of(code.co_filename)
    if tree is None or code.co_name == "<module>":
        return tree
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if code.co_firstlineno in (first, node.lineno):
                return node
    return None


def _walk(scope: Scope) -> Iterator[ast.AST]:
    """The nodes of a function or a module in source order, without those of functions inside it."""
    stack: List[ast.AST] = list(reversed(list(ast.iter_child_nodes(scope))))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _dotted(node: Optional[ast.AST]) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return "%s.%s" % (inner, node.attr) if inner else node.attr
    return ""


def _described(code: CodeType, expression: Any, inner: Any, around: Any = None) -> Found:
    """`line`, `code`, `expression` and `argument` of a place; the texts are empty if they span lines."""
    line = expression.lineno
    text = linecache.getline(code.co_filename, line)
    found: Found = {
        "source": code.co_filename,
        "line": line,
        "code": _without_comment(text),
        "expression": "",
        "argument": "",
    }
    found["expression"] = _text(text, expression)
    if isinstance(inner, ast.Call) and inner.args:
        found["argument"] = _text(text, inner.args[0])
    elif isinstance(inner, ast.SetComp):
        found["argument"] = found["expression"][1:-1].strip()
    return found


def _without_comment(line: str) -> str:
    """A line without a comment at its end; with it if a quote makes that hard to see."""
    before, _, _ = line.partition("#")
    return (line if "'" in before or '"' in before else before).strip()


def _text(line: str, node: Any) -> str:
    if node.lineno != node.end_lineno:
        return ""
    raw = line.encode("utf-8", "surrogatepass")[node.col_offset : node.end_col_offset]
    return raw.decode("utf-8", "replace")


# -- assignments to a setting ----------------------------------------------------------------------------------------------


def assignments(files: Sequence[str], key: str) -> List[Tuple[str, int]]:
    """(file, line) of each statement that sets the item `key` of something, as `group["lr"] = …` does."""
    found: List[Tuple[str, int]] = []
    for file in files:
        if key not in "".join(linecache.getlines(file)):
            continue
        tree = tree_of(file)
        for node in ast.walk(tree) if tree is not None else ():
            targets: List[Any] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
                targets = [node.target]
            if any(_is_item(target, key) for target in targets):
                found.append((file, node.lineno))  # type: ignore[attr-defined]  # statements have one
            elif isinstance(node, ast.Call) and _updates(node, key):
                found.append((file, node.lineno))
    return found


def _is_item(target: Any, key: str) -> bool:
    if isinstance(target, (ast.Tuple, ast.List)):
        return any(_is_item(one, key) for one in target.elts)
    if not isinstance(target, ast.Subscript):
        return False
    index: Any = target.slice
    index = getattr(index, "value", index) if type(index).__name__ == "Index" else index
    return isinstance(index, ast.Constant) and index.value == key


def _updates(call: ast.Call, key: str) -> bool:
    """Whether a call is `group.update(lr=…)` or `group.update({"lr": …})`."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "update":
        return False
    keys = [key_node for one in call.args if isinstance(one, ast.Dict) for key_node in one.keys]
    return any(word.arg == key for word in call.keywords) or any(
        isinstance(one, ast.Constant) and one.value == key for one in keys
    )
