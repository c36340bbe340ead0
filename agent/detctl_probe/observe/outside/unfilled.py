"""Finds the lines of a source file that make memory without content (torch.empty and its kind), and whether the file fills it. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Set, Tuple

from detctl_probe.process.source_trees import dotted, imported_names, resolved, syntax

_MAKERS = {
    "torch.empty", "torch.empty_like", "torch.empty_strided", "torch.Tensor", "torch.FloatTensor", "torch.DoubleTensor",
    "torch.HalfTensor", "torch.LongTensor", "torch.cuda.FloatTensor", "numpy.empty", "numpy.empty_like", "numpy.ndarray",
}  # fmt: skip
_METHODS = ("new_empty", "new_empty_strided")
_USUAL_NAMES = {"np": "numpy"}  # where `from … import *` hides the import
NOT_FILLED, PARTLY, FILLED = "", "partly", "filled"


class Unfilled(NamedTuple):
    """One such line. `names`: of the variables and attributes that hold the memory; `filled`: NOT_FILLED, PARTLY or FILLED."""

    line: int
    call: str
    names: Tuple[str, ...]
    filled: str


def unfilled(tree: Any) -> List[Unfilled]:
    """Returns the lines of a source file with this syntax tree, in order."""
    walk = syntax().walk
    nodes = list(walk(tree))
    imported = {**_USUAL_NAMES, **imported_names(tree)}
    found = []
    for node, names in _bindings(nodes):
        for inner in walk(node):
            call = _maker(inner, imported)
            if call and not _is_data(inner, call):
                held = _aliases(nodes, set(names))
                found.append(Unfilled(inner.lineno, call, tuple(sorted(held)), _filling(nodes, held)))
    return sorted(set(found))


def _maker(node: Any, imported: Dict[str, str]) -> str:
    if type(node).__name__ != "Call":
        return ""
    method = getattr(node.func, "attr", "")
    if method in _METHODS:
        return "torch.Tensor." + method
    name = resolved(dotted(node.func), imported)
    return name if name in _MAKERS else ""


def _is_data(call: Any, name: str) -> bool:
    """Whether torch.Tensor([1, 2]) copies a list: then it has content. A call without arguments or with a size of 0 has no elements."""
    if not (call.args or call.keywords) or any(getattr(value, "value", None) == 0 for value in call.args):
        return True
    if "Tensor" not in name or name.startswith("torch.Tensor."):
        return False
    return not all(type(a).__name__ in ("Constant", "Attribute", "BinOp", "Name", "Starred") for a in call.args) or (
        len(call.args) == 1 and type(call.args[0]).__name__ == "Name"
    )


def _bindings(nodes: List[Any]) -> Iterator[Tuple[Any, List[str]]]:
    """Yields (expression, names that it is bound to) for assignments and registrations."""
    for node in nodes:
        kind = type(node).__name__
        if kind == "Assign":
            yield node.value, [name for target in node.targets for name in _names(target)]
        elif kind == "AnnAssign" and node.value is not None:
            yield node.value, list(_names(node.target))
        elif kind == "Call" and getattr(node.func, "attr", "") in ("register_buffer", "register_parameter"):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            if len(values) > 1 and isinstance(getattr(values[0], "value", None), str):
                yield values[1], [values[0].value]


def _names(target: Any) -> Iterator[str]:
    kind = type(target).__name__
    if kind == "Name":
        yield target.id
    elif kind == "Attribute":
        yield target.attr
    elif kind == "Subscript" and isinstance(getattr(target.slice, "value", None), str):
        yield target.slice.value


def _aliases(nodes: List[Any], names: Set[str]) -> Set[str]:
    """Adds the names that the memory gets by `b = a`, `b = nn.Parameter(a)` and registrations."""
    held = set(names)
    for node, targets in _bindings(nodes):
        value = node
        while (
            type(value).__name__ == "Call" and value.args and _end(value.func) in ("Parameter", "Buffer", "to", "cuda")
        ):
            value = value.args[0]
        if _end(value) in names:
            held.update(targets)
    return held


def _end(node: Any) -> str:
    """The last name of `self.a`, `a`, `a.data`, `a.weight.data`."""
    while type(node).__name__ == "Attribute" and node.attr == "data":
        node = node.value
    return str(getattr(node, "attr", "") or getattr(node, "id", ""))


def _filling(nodes: List[Any], names: Set[str]) -> str:
    filled = NOT_FILLED
    for node in nodes:
        kind = type(node).__name__
        if kind == "Call":
            name = _end(node.func)
            writes = name.endswith("_") and not name.endswith("__")
            target: Any = node.func.value if type(node.func).__name__ == "Attribute" else None
            given = [*node.args, *(k.value for k in node.keywords if k.arg in ("out", "tensor"))]
            if writes and (_end(target) in names or any(_end(value) in names for value in given[:1])):
                return FILLED
            if any(keyword.arg == "out" and _end(keyword.value) in names for keyword in node.keywords):
                return FILLED
            if name == "fill" and _end(target) in names:
                return FILLED
            if any(_end(value) in names for value in node.args) and not _keeps(node):
                filled = PARTLY  # the function may fill it
            if writes and type(target).__name__ == "Subscript" and _end(target.value) in names:
                filled = PARTLY
        elif kind in ("Assign", "AugAssign"):
            for target in node.targets if kind == "Assign" else [node.target]:
                if type(target).__name__ == "Subscript" and _end(target.value) in names:
                    if _whole(target.slice):
                        return FILLED
                    filled = PARTLY
    return filled


def _keeps(call: Any) -> bool:
    """Whether a call only reads its arguments, or keeps them as they are: one of torch, of numpy, or of the model's registry."""
    if _end(call.func) in ("Parameter", "Buffer", "register_buffer", "register_parameter", "print", "len"):
        return True
    function = call.func
    while type(function).__name__ == "Attribute":
        function = function.value
    return getattr(function, "id", "") in ("torch", "np", "numpy", "F", "nn") and not _end(call.func).endswith("_into")


def _whole(part: Any) -> bool:
    """Whether a subscript is `[:]` or `[...]`."""
    part = getattr(part, "value", part)
    return part is Ellipsis or (
        type(part).__name__ == "Slice" and part.lower is None and part.upper is None and part.step is None
    )
