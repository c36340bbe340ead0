"""Stage update: parameters, optimizer state and learning rates after a step, and the buffers of every root."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, Tuple

from detctl_probe.digest import Unfit
from detctl_probe.observe.backward import components
from detctl_probe.observe.modules_tensors import layout, print_plain, print_tensor, tensors
from detctl_probe.observe.naming import walk
from detctl_probe.observe.steps import Model

_PLAIN = (bool, int, float)


class Update:
    """Records what a step left behind."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("update", "update")
        self._row.installed = True

    def record(self, optimizer: Any, named: Iterable[Tuple[str, Any]]) -> None:
        """Parameters and state of this optimizer, its groups' lr, and all buffers."""
        if not self._recorder.recording:
            return
        with self._recorder.working():
            for site, parameter in named:
                self._tensor(site, parameter)
                state = optimizer.state.get(parameter) if hasattr(optimizer, "state") else None
                if state:
                    self._state(site, state)
            for g, group in enumerate(optimizer.param_groups):
                if "lr" in group:
                    self._value("group%d.lr" % g, group["lr"], evidence={"options": options(group)})
            self._buffers()

    def by_hand(self) -> None:
        """Parameters that take gradients and buffers of every root: a training without optimizer."""
        if not self._recorder.recording:
            return
        with self._recorder.working():
            for site, parameter in self._of_roots("_parameters"):
                if parameter.requires_grad:
                    self._tensor(site, parameter)
            self._buffers()

    def skipped(self) -> None:
        """The step changed nothing."""
        if self._recorder.recording:
            self._recorder.record("update", "skipped", print_plain(True), phase="train")
            self._row.fired += 1

    def gradients_by_hand(self) -> Iterator[Tuple[str, Any]]:
        """(site, parameter) of every root."""
        return self._of_roots("_parameters")

    def _buffers(self) -> None:
        for site, buffer in self._of_roots("_buffers"):
            self._tensor(site, buffer)

    def _of_roots(self, table: str) -> Iterator[Tuple[str, Any]]:
        seen = set()
        for root, name in self._model.names.roots():
            for one, below, _ in walk(root, name):
                for part, tensor in getattr(one, table).items():
                    if tensor is not None and id(tensor) not in seen:
                        seen.add(id(tensor))
                        yield self._model.names.tensor(tensor) or "%s.%s" % (below, part), tensor

    def _state(self, site: str, state: Dict[Any, Any]) -> None:
        for key, value in state.items():
            self._value("%s.%s" % (site, key), value)

    def _value(self, site: str, value: Any, evidence: Any = None) -> None:
        if isinstance(value, _PLAIN):
            self._recorder.record("update", site, print_plain(value), phase="train", evidence=evidence)
            self._row.fired += 1
            return
        for path, tensor in tensors(value):
            self._tensor(site + path, tensor)

    def _tensor(self, site: str, tensor: Any) -> None:
        for part, dense in components(tensor):
            try:
                value = print_tensor(dense)
            except Unfit as why:
                self._recorder.unobserved("update", site + part, str(why))
                continue
            self._recorder.record("update", site + part, value, phase="train", evidence=layout(dense))
            self._row.fired += 1


def options(group: Dict[str, Any]) -> Dict[str, Any]:
    """Plain settings of a parameter group, for people."""
    found: Dict[str, Any] = {}
    for key, value in group.items():
        if isinstance(value, (bool, int, float, str)) or value is None:
            found[key] = value
        elif isinstance(value, tuple) and all(isinstance(item, _PLAIN) for item in value):
            found[key] = list(value)
    return found
