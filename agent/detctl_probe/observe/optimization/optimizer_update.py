"""Stage update: parameters, optimizer state and learning rates after a step, and the buffers of every root."""

from __future__ import annotations

from itertools import chain
from typing import Any, Iterable, Iterator, List, Tuple

from detctl_probe.observe.model.naming import tree, walk
from detctl_probe.observe.model.steps import Model
from detctl_probe.observe.model.tensors import Entry, record_values, tensors
from detctl_probe.recording.sampling import in_turn

_PLAIN = (bool, int, float)


class Update:
    """Records parameters, state and buffers after a step."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("update", "update")
        self._row.installed = True

    def record(self, optimizer: Any, named: Iterable[Tuple[str, Any]]) -> None:
        """Parameters and state of this optimizer, its groups' lr, and all buffers."""
        if not self._recorder.takes("update"):
            return
        self._record(self._after(optimizer, named))

    def _after(self, optimizer: Any, named: Iterable[Tuple[str, Any]]) -> Iterator[Entry]:
        states = hasattr(optimizer, "state") and self._recorder.settings.level != "step"
        for site, parameter in named:
            yield site, parameter, None
            state = optimizer.state.get(parameter) if states else None
            for key, value in (state or {}).items():
                yield from self._value("%s.%s" % (site, key), value)
        for g, group in enumerate(optimizer.param_groups):
            if "lr" in group:
                yield from self._value("group%d.lr" % g, group["lr"])
        yield from self._buffers()

    def by_hand(self) -> None:
        """Parameters that take gradients and buffers of every root: a training without optimizer."""
        if not self._recorder.takes("update"):
            return
        parameters = (
            (site, parameter, None) for site, parameter in self._of_roots("_parameters") if parameter.requires_grad
        )
        self._record(chain(parameters, self._buffers()))

    def skipped(self) -> None:
        """Records a step that changed nothing."""
        if self._recorder.takes("update"):
            self._record([("skipped", True, None)])

    def gradients_by_hand(self) -> Iterator[Tuple[str, Any]]:
        """(site, parameter) of every root."""
        return self._of_roots("_parameters")

    def _record(self, entries: Iterable[Entry]) -> None:
        record_values(self._recorder, self._row, "update", entries, "train")

    def _buffers(self) -> Iterator[Entry]:
        for site, buffer in self._of_roots("_buffers"):
            yield site, buffer, None

    def _of_roots(self, table: str) -> Iterator[Tuple[str, Any]]:
        """(site, tensor) of every root, each once; of the step's turn."""
        seen = set()
        rows: List[Tuple[Any, str, Any, str, Any]] = []
        for root, name in self._model.names.trained_roots():
            for one in tree(root):
                for part, tensor in getattr(one, table).items():
                    if tensor is not None and id(tensor) not in seen:
                        seen.add(id(tensor))
                        rows.append((root, name, one, part, tensor))
        name_of = self._model.names.tensor
        for root, name, one, part, tensor in in_turn(rows, self._recorder.step, self._recorder.settings):
            yield name_of(tensor) or "%s.%s" % (_path(root, name, one), part), tensor

    def _value(self, site: str, value: Any) -> Iterator[Entry]:
        if isinstance(value, _PLAIN):
            yield site, value, None
            return
        for path, tensor in tensors(value):
            yield site + path, tensor, None


def _path(root: Any, name: str, module: Any) -> str:
    """The path of a module below a root, for one that was added since the last walk."""
    return next(below for one, below, _ in walk(root, name) if one is module)
