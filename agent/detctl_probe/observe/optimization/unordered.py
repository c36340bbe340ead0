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

from detctl_probe.observe.optimization.source import dotted, walk
from detctl_probe.process.source_trees import function_of, tree_of

FRAMES_MAX = 8
ELEMENTS_MAX = 20_000
_SETS = ("set", "frozenset")
_ORDERLESS = ("len", "sorted", "bool", "print", "set", "frozenset", "any", "all", "id", "isinstance")
_TAKES_ORDER = ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "chain")

_METHODS = {
    "tensor": frozenset(("parameters", "named_parameters")),
    "module": frozenset(("modules", "children", "named_modules", "named_children")),
}

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
    if scope is None or not _is_passed_on(scope, name):
        return None
    is_plain = not _has_other_uses(scope, name)
    for node in walk(scope):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and is_plain:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(dotted(target) == name for target in targets) and _makes_set(node.value):
                return _described(code, node.value, node.value)
    for node, used in _orders(scope):
        if dotted(used) == name:
            return _described(code, used, used, node)
    return None


def _is_passed_on(scope: Scope, name: str) -> bool:
    """Whether a function iterates over a set, or gives it to another function: one that only serves `in` orders nothing."""
    if any(dotted(used) == name for _, used in _orders(scope)):
        return True
    calls = (node for node in walk(scope) if isinstance(node, ast.Call) and dotted(node.func) not in _ORDERLESS)
    return any(dotted(part) == name for call in calls for part in [*call.args, *(word.value for word in call.keywords)])


def _has_other_uses(scope: Scope, name: str) -> bool:
    """Whether a function uses a set as only a set can be used: a list in its place would not do."""
    for node in walk(scope):
        if isinstance(node, ast.Attribute) and dotted(node.value) == name:
            return True
        if isinstance(node, ast.BinOp) and name in (dotted(node.left), dotted(node.right)):
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
                    elements = _kind(used) or _kind_given(frame.f_code, code) or "unknown"
                    yield {"elements": elements, "seen": False, "frame": frame, **_described(code, used, used, node)}
            for call in walk(scope) if scope is not None else ():
                if isinstance(call, ast.Call) and any(_is_by_address(word) for word in call.keywords):
                    place = _described(code, call, call)
                    yield {"elements": "tensor", "seen": False, "frame": frame, **place, "expression": "key=id"}


def _kind(node: ast.AST) -> str:
    """What an expression goes through, by the methods of modules that it calls; empty: it does not show."""
    names = {dotted(one.func).rpartition(".")[2] for one in ast.walk(node) if isinstance(one, ast.Call)}
    return next((kind for kind, methods in _METHODS.items() if names & methods), "")


def _kind_given(caller: CodeType, called: CodeType) -> str:
    """What a function passes to another that it calls."""
    scope = _scope(caller) if called is not caller else None
    calls = [node for node in walk(scope) if isinstance(node, ast.Call)] if scope is not None else []
    given = [part for call in calls if dotted(call.func).rpartition(".")[2] == called.co_name for part in call.args]
    return next((kind for part in given if (kind := _kind(part))), "")


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
    return isinstance(node, ast.Call) and dotted(node.func) in _SETS and bool(node.args)


def _orders(scope: Scope) -> Iterator[Tuple[ast.AST, ast.expr]]:
    """(node, what it iterates over) of each loop, comprehension and call that takes the order of something."""
    for node in walk(scope):
        if isinstance(node, ast.For):
            yield node, node.iter
        elif isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
            for part in node.generators:
                yield part.iter, part.iter
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name.rpartition(".")[2] in _TAKES_ORDER:
                for argument in node.args:
                    yield node, argument
            elif _takes_parameters(node):
                yield node, node.args[0]
        elif isinstance(node, ast.Starred):
            yield node, node.value


def _takes_parameters(call: ast.Call) -> bool:
    """Whether a call looks like that of an optimizer's class."""
    name = dotted(call.func).rpartition(".")[2]
    return bool(call.args) and name[:1].isupper() and any(word.arg in ("lr", "weight_decay") for word in call.keywords)


# -- places ---------------------------------------------------------------------------------------------------------------


def _scope(code: CodeType) -> Scope:
    tree = tree_of(code.co_filename)
    if tree is None or code.co_name == "<module>":
        return tree
    return function_of(tree, code)


def _described(code: CodeType, expression: Any, inner: Any, around: Any = None) -> Found:
    """`line`, `code`, `expression` and `argument` of a place, and whether it is only iterated; texts that span lines are empty."""
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
    is_call = isinstance(around, ast.Call)
    found["iterated"] = around is not None and (not is_call or dotted(around.func) in ("list", "tuple", "enumerate"))
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
