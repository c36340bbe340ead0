"""Follows values of the user's source from the lines that read them: through names, attributes, functions and returns. Pure."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterator, List, Set, Tuple

from detctl_probe.observe.outside.reading_calls import ADDRESS, CLOCK, HOME, PATHS, reading_at
from detctl_probe.process.source_trees import dotted, imported_names, resolved, syntax

QUIET = frozenset(
    """print debug info warning warn error exception critical log log_dict log_metrics add_scalar add_scalars append write writelines
    writerow dump dumps update set_postfix set_description set_postfix_str sleep makedirs mkdir record step_end emit inc observe
    flush isoformat strftime total_seconds""".split()
)
# Calls through which a path remains a path, or becomes a number that depends on it. Others read what lies there.
_PATH_KEEPERS = frozenset(
    """str repr int hash len sorted list tuple bytes float sum ord divmod from_bytes join dirname basename abspath realpath normpath
    split splitext fspath fsencode expanduser Path PurePath resolve absolute encode decode hexdigest digest md5 sha1 sha256 sha512 blake2b
    blake2s crc32 adler32 xxh64 lower upper replace format strip rstrip lstrip startswith endswith with_suffix joinpath as_posix update
    enumerate zip rsplit partition rpartition with_name relative_to count index map filter reversed set min max abs mod get""".split()
)
_LOOKS_THERE = frozenset(("exists", "isfile", "isdir", "is_file", "is_dir", "glob", "listdir"))
_PASSES = 6
_FUNCTIONS = ("FunctionDef", "AsyncFunctionDef")

Taint = FrozenSet[int]  # numbers of reads
NONE: Taint = frozenset()
Key = Tuple[Any, ...]


class Flow:
    """The reads of some files, and what holds their values."""

    def __init__(self, trees: Dict[str, Any]) -> None:
        self.ast, self.trees = syntax(), trees
        self.names = {file: imported_names(tree) for file, tree in trees.items()}
        self.file: Dict[int, str] = {}  # id of a node -> its file
        self.scope: Dict[int, int] = {}  # id of a node -> id of the function that holds it, else of the module
        self.functions: Dict[str, Any] = {}
        self.nodes: List[Any] = []
        self.returns: Dict[int, List[Any]] = {}  # by the id of their function
        self.fields: Set[int] = set()  # ids of the annotated assignments in class bodies
        self.found: List[Tuple[str, int, str, str]] = []  # file, line, call, source
        self.number: Dict[int, int] = {}  # id of a node -> number of the read that it is
        self.taint: Dict[Key, Set[int]] = {}
        self.ordering: List[int] = []  # numbers of the reads that are `key=id`
        for file, tree in trees.items():
            self._survey(tree, id(tree), file)
        for node in self.nodes:
            self._find(node)
        for _ in range(_PASSES if self.found else 0):
            before = sum(map(len, self.taint.values()))
            for node in self.nodes:
                self._carry(node)
            if sum(map(len, self.taint.values())) == before:
                break

    # -- names ---------------------------------------------------------------------------------------------------------
    def _survey(self, node: Any, scope: int, file: str) -> None:
        kind = type(node).__name__
        self.scope[id(node)] = scope
        self.file[id(node)] = file
        self.nodes.append(node)
        if kind in _FUNCTIONS:
            self.functions[node.name] = node
        elif kind in ("Return", "Yield"):
            self.returns.setdefault(scope, []).append(node)
        elif kind == "ClassDef":
            self.fields.update(id(child) for child in node.body if type(child).__name__ == "AnnAssign")
        inner = id(node) if kind in _FUNCTIONS or kind == "Lambda" else scope
        for child in self.ast.iter_child_nodes(node):
            self._survey(child, inner, file)

    def dotted(self, node: Any) -> str:
        """`time.time` for `t.time` after `import time as t`; empty for anything but a chain of names."""
        return resolved(dotted(node), self.names.get(self.file.get(id(node), ""), {}))

    def _find(self, node: Any) -> None:
        if type(node).__name__ == "keyword" and node.arg == "key" and getattr(node.value, "id", "") == "id":
            self.ordering.append(len(self.found))
            self.found.append((self.file[id(node)], node.value.lineno, "id", ADDRESS))
            return
        reading = reading_at(node, self.dotted)
        if reading is not None:
            self.number[id(reading.node)] = len(self.found)
            self.found.append((self.file[id(reading.node)], reading.node.lineno, reading.call, reading.source))

    # -- where values go -----------------------------------------------------------------------------------------------
    def of(self, node: Any) -> Taint:
        """The reads that an expression's value may depend on."""
        if node is None:
            return NONE
        kind = type(node).__name__
        own = frozenset((self.number[id(node)],)) if id(node) in self.number else NONE
        if kind == "Name":
            module = id(self.trees[self.file[id(node)]])
            return own | self.get(("name", self.scope[id(node)], node.id)) | self.get(("name", module, node.id))
        if kind == "Attribute":
            return own | self.of(node.value) | self.get(("attribute", node.attr))
        if kind == "Call":
            return own | self._of_call(node)
        if kind in ("Lambda", "Constant"):
            return own
        parts = (self.of(child) for child in self.ast.iter_child_nodes(node))
        return own.union(*parts)

    def _of_call(self, node: Any) -> Taint:
        name = last_name(node.func)
        given = NONE.union(*(self.of(value) for value in arguments(node)))
        if type(node.func).__name__ == "Attribute":
            given |= self.of(node.func.value)
        function = self.functions.get(name)
        returned = self.get(("return", name))
        if function is not None:
            return returned
        if name in QUIET and name not in _PATH_KEEPERS:
            return given if name in ("isoformat", "strftime", "total_seconds") else NONE
        if name in _LOOKS_THERE:
            return frozenset(
                n for n in given if self.found[n][3] == HOME
            )  # whether a file is there differs with the home folder
        if name not in _PATH_KEEPERS:
            given = frozenset(n for n in given if self.found[n][3] not in PATHS)
        return given | returned

    def get(self, key: Key) -> Taint:
        return frozenset(self.taint.get(key, ()))

    def _put(self, target: Any, taint: Taint) -> None:
        if not taint:
            return
        kind = type(target).__name__
        if kind == "Name":
            self.taint.setdefault(("name", self.scope[id(target)], target.id), set()).update(taint)
        elif kind == "Attribute":
            self.taint.setdefault(("attribute", target.attr), set()).update(taint)
        elif kind in ("Tuple", "List"):
            for one in target.elts:
                self._put(one, taint)
        elif kind == "Starred":
            self._put(target.value, taint)

    def _carry(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Assign":
            for target in node.targets:
                self._assign(target, node.value)
        elif kind in ("AnnAssign", "AugAssign", "NamedExpr"):
            self._put(node.target, taint := self.of(node.value))
            if id(node) in self.fields and taint and type(node.target).__name__ == "Name":
                self.taint.setdefault(("attribute", node.target.id), set()).update(taint)
        elif kind in ("For", "AsyncFor", "comprehension"):
            self._put(node.target, self.of(node.iter))
        elif kind in _FUNCTIONS:
            self._returns(node)
        elif kind == "Call":
            self._parameters(node)
            self._called_later(node)
            name = last_name(node.func)
            if name in ("append", "add", "extend", "update") and type(node.func).__name__ == "Attribute":
                if name == "update" or self._chooses(node.args):
                    self._put(node.func.value, NONE.union(*(self.of(value) for value in node.args)))

    def _called_later(self, node: Any) -> None:
        """A timer, or the handler of an alarm: what it sets changes when the time is over."""
        if id(node) not in self.number or self.dotted(node.func) not in ("threading.Timer", "signal.signal"):
            return
        own = frozenset((self.number[id(node)],))
        for called in arguments(node):
            function = self.functions.get(last_name(called))
            if type(called).__name__ == "Attribute" and called.attr == "set":
                self._put(called.value, own)
            elif function is not None:
                for inner in self.ast.walk(function):
                    self._set_later(inner, own, id(self.trees[self.file[id(inner)]]))

    def _set_later(self, node: Any, taint: Taint, module: int) -> None:
        kind = type(node).__name__
        if kind == "Call" and last_name(node.func) == "set" and type(node.func).__name__ == "Attribute":
            self._put(node.func.value, taint)
        for target in node.targets if kind == "Assign" else ():
            if type(target).__name__ == "Name":  # a global name, or one of no effect
                self.taint.setdefault(("name", module, target.id), set()).update(taint)
            else:
                self._put(target, taint)

    def _chooses(self, values: List[Any]) -> bool:
        """Whether appended values are hashes or paths, and not times for a log."""
        return any(self.found[n][3] != CLOCK for value in values for n in self.of(value))

    def _assign(self, target: Any, value: Any) -> None:
        if type(target).__name__ in ("Tuple", "List"):
            if type(value).__name__ in ("Tuple", "List") and len(value.elts) == len(target.elts):
                for one, own in zip(target.elts, value.elts):  # noqa: B905 - Python 3.9
                    self._put(one, self.of(own))
                return
            name = last_name(value.func) if type(value).__name__ == "Call" else ""
            if name in self.functions:
                for at, one in enumerate(target.elts):
                    self._put(one, self.get(("return", name, at)))
                if not any(("return", name, at) in self.taint for at in range(len(target.elts))):
                    self._put(target, self.get(("return", name)))
                return
        self._put(target, self.of(value))

    def _returns(self, function: Any) -> None:
        for node in self.returns.get(id(function), ()):
            if type(node.value).__name__ == "Tuple":
                for at, one in enumerate(node.value.elts):
                    if taint := self.of(one):
                        self.taint.setdefault(("return", function.name, at), set()).update(taint)
            elif taint := self.of(node.value):
                self.taint.setdefault(("return", function.name), set()).update(taint)

    def _parameters(self, call: Any) -> None:
        function = self.functions.get(last_name(call.func))
        if function is None:
            return
        names = [argument.arg for argument in function.args.args]
        if names[:1] in (["self"], ["cls"]) and type(call.func).__name__ == "Attribute":
            names = names[1:]
        given = [(keyword.arg, keyword.value) for keyword in call.keywords]
        given += zip(names, call.args)  # noqa: B905 - strict came with Python 3.10
        for name, value in given:
            if taint := self.of(value):
                self.taint.setdefault(("name", id(function), name), set()).update(taint)


def last_name(node: Any) -> str:
    kind = type(node).__name__
    return str(node.attr) if kind == "Attribute" else str(node.id) if kind == "Name" else ""


def arguments(call: Any) -> Iterator[Any]:
    yield from call.args
    for keyword in call.keywords:
        yield keyword.value
