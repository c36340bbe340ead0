"""Finds the lines of a source file that read something outside the training, and what they do with the value. Pure.

A stopwatch reads the clock too. A read matters if its value seeds, hashes, indexes, decides or enters a loss. The value is followed through
names, attributes, functions and returns of the user's files (carried_values.py). What leaves them is lost, so `use` is evidence if it is
set, and nothing if it is empty.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from detctl_probe.observe.outside.carried_values import NONE, QUIET, Flow, Taint, arguments, last_name
from detctl_probe.observe.outside.reading_calls import CLOCK

VALUE, CONTROL = "value", "control"
_SEEDING = frozenset(
    "seed manual_seed manual_seed_all default_rng RandomState Random SeedSequence set_seed seed_everything".split()
)
_HYPERPARAMETERS = frozenset(("lr", "weight_decay", "momentum", "betas", "eps", "alpha", "initial_lr", "temperature"))
_SIZES = frozenset(("batch_size", "num_samples", "n_splits", "n_folds", "max_steps", "num_shards"))
_BY_FUNCTION = frozenset(("LambdaLR", "MultiplicativeLR"))  # schedulers that call the user's function


class Read(NamedTuple):
    """One call (or use of `__file__`) that reads something outside. `use`: VALUE, CONTROL or empty; `used_in`, `used_at`: file and line."""

    line: int
    call: str
    source: str
    use: str
    used_in: str
    used_at: int


def reads(trees: Dict[str, Any]) -> Dict[str, List[Read]]:
    """Returns the reads of each source file, in the order of their lines. trees: the syntax tree of each file."""
    try:
        flow = Flow(trees)
        uses = _Uses(flow).found() if flow.found else {}
    except RecursionError:
        return {}
    rows: Dict[str, List[Read]] = {file: [] for file in trees}
    for number, (file, line, call, source) in enumerate(flow.found):
        rows[file].append(Read(line, call, source, *uses.get(number, ("", "", 0))))
    return {file: sorted(found) for file, found in rows.items()}


class _Uses:
    """What decides with the values of reads, or computes with them."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.uses: Dict[int, Tuple[str, str, int]] = {}

    def found(self) -> Dict[int, Tuple[str, str, int]]:
        """Number of a read -> (VALUE or CONTROL, file, line)."""
        for number in self.flow.ordering:
            file, line = self.flow.found[number][:2]
            self.uses[number] = (VALUE, file, line)
        for node in self.flow.nodes:
            self._sink(node)
        return self.uses

    def _use(self, taint: Taint, use: str, node: Any, but: Tuple[str, ...] = ()) -> None:
        for number in taint:
            if self.flow.found[number][3] not in but and self.uses.get(number, (CONTROL,))[0] == CONTROL:
                if number not in self.uses or use == VALUE:
                    self.uses[number] = (use, self.flow.file[id(node)], node.lineno)

    def _sink(self, node: Any) -> None:
        kind = type(node).__name__
        if kind == "Call":
            self._sink_of_call(node)
        elif kind == "BinOp" and type(node.op).__name__ == "Mod" and not _is_text(node.left):
            self._use(self.flow.of(node.left), VALUE, node, but=(CLOCK,))
        elif kind in ("If", "IfExp", "While", "Assert"):
            if kind != "If" or not self._only_reports(node):
                self._use(self.flow.of(node.test), CONTROL, node)
        elif kind == "comprehension":
            for test in node.ifs:
                self._use(self.flow.of(test), CONTROL, test)
        elif kind in ("Return", "Assign") and node.value is not None:
            if type(node.value).__name__ == "Compare":
                self._use(self.flow.of(node.value), CONTROL, node)
            if kind == "Assign":
                self._sink_of_target(node.targets, node.value)
        elif kind == "AugAssign":
            self._sink_of_target([node.target], node.value)
        elif kind == "Subscript" and type(node.ctx).__name__ == "Load":
            self._use(self.flow.of(node.slice), VALUE, node)

    def _sink_of_call(self, node: Any) -> None:
        name = last_name(node.func)
        given = NONE.union(*(self.flow.of(value) for value in arguments(node)))
        if name in _SEEDING:
            self._use(given, VALUE, node)
        elif name in ("range", "islice"):
            self._use(given, VALUE, node)
        elif name == "hash":
            self._use(given, VALUE, node, but=(CLOCK,))
        elif name == "backward" and type(node.func).__name__ == "Attribute":
            self._computes(self.flow.of(node.func.value))
        elif name in _BY_FUNCTION:
            for value in arguments(node):
                self._computes(self._returned_by(value))
        elif name.endswith("_") and not name.endswith("__") and type(node.func).__name__ == "Attribute":
            self._computes(given)  # a tensor is changed in place
        elif name == "step" and "sched" in last_name(getattr(node.func, "value", None)).lower():
            self._computes(given)
        for keyword in node.keywords:
            if keyword.arg in ("seed", "random_state") or keyword.arg in _HYPERPARAMETERS or keyword.arg in _SIZES:
                self._use(self.flow.of(keyword.value), VALUE, node)
            if keyword.arg == "key" and name in ("sorted", "sort", "min", "max"):
                self._sink_of_key(keyword.value, node)

    def _returned_by(self, function: Any) -> Taint:
        """What a function that is passed on may return: a lambda, a function by its name, or an object that can be called."""
        kind = type(function).__name__
        if kind == "Lambda":
            return self.flow.of(function.body)
        name = last_name(function.func if kind == "Call" else function)
        return self.flow.get(("return", name if name in self.flow.functions else "__call__"))

    def _computes(self, taint: Taint) -> None:
        """Values that enter a loss: the line that reads them is the one to change."""
        for number in taint:
            if self.uses.get(number, (CONTROL,))[0] == CONTROL:
                file, line = self.flow.found[number][:2]
                self.uses[number] = (VALUE, file, line)

    def _sink_of_key(self, key: Any, call: Any) -> None:
        if type(key).__name__ == "Lambda":
            self._use(self.flow.of(key.body), VALUE, call)
        elif last_name(key) in self.flow.functions:
            self._use(self.flow.get(("return", last_name(key))), VALUE, call)

    def _sink_of_target(self, targets: List[Any], assigned: Any) -> None:
        for target in targets:
            kind = type(target).__name__
            name: Any = target.attr if kind == "Attribute" else None
            if kind == "Subscript":
                name = getattr(target.slice, "value", None)
                name = getattr(name, "value", name)  # Python 3.8 and older wrap it in Index
            if isinstance(name, str) and name in _HYPERPARAMETERS:
                self._use(self.flow.of(assigned), VALUE, assigned)

    def _only_reports(self, node: Any) -> bool:
        """Whether both branches only print, log or remember the time."""
        return all(self._reports(one) for one in [*node.body, *node.orelse])

    def _reports(self, node: Any) -> bool:
        kind = type(node).__name__
        if kind == "Expr":
            inner = node.value
            return type(inner).__name__ == "Constant" or (
                type(inner).__name__ == "Call" and last_name(inner.func) in QUIET - {"append", "update"}
            )
        if kind in ("Assign", "AugAssign", "AnnAssign"):
            return (
                bool(self.flow.of(node.value))
                or _is_text(node.value)
                or isinstance(getattr(node.value, "value", ""), bool)
            )
        if kind == "If":
            return self._only_reports(node)
        return kind == "Pass"


def _is_text(node: Any) -> bool:
    return type(node).__name__ == "JoinedStr" or (
        type(node).__name__ == "Constant" and isinstance(node.value, (str, bytes))
    )
