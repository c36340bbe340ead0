"""Stage init: parameters and buffers before the first forward of their root, each once, however often they are shared.

Parameters that only an optimizer holds (of a lazy module, or a tensor without a module) are recorded before the optimizer's first step.
"""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterator, Tuple

from detctl_probe.observe.model.naming import in_evaluation, walk
from detctl_probe.observe.model.steps import Model, model_of
from detctl_probe.observe.model.tensors import record_values
from detctl_probe.recording.recorder import Recorder


class Init:
    """Remembers what was recorded; the module and the optimizer observer share it through the model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("init", "init")
        self._row.installed = True
        self._seen: Dict[int, Any] = model.__dict__.setdefault("initialised", {})

    def module(self, module: Any, site: str) -> None:
        """Records the tree of a root that is called for the first time; in phase eval if only evaluation has called it so far."""
        if in_evaluation(site):
            if self._recorder.wants("init"):
                entries = ((name, tensor, None) for name, tensor in self._tree(module, site) if self._is_new(tensor))
                record_values(self._recorder, self._row, "init", entries, "eval")
            return
        self._record((name, tensor) for name, tensor in self._tree(module, site))

    def optimizer(self, named: Iterator[Tuple[str, Any]]) -> None:
        """Records (site, parameter) of an optimizer that no forward has shown."""
        self._record(named)

    def _tree(self, module: Any, site: str) -> Iterator[Tuple[str, Any]]:
        for one, name, _ in walk(module, site):
            for table in (one._parameters, one._buffers):
                for part, tensor in table.items():
                    if tensor is not None:
                        yield self._model.names.tensor(tensor) or "%s.%s" % (name, part), tensor

    def _record(self, named: Iterator[Tuple[str, Any]]) -> None:
        recorder = self._recorder
        if not recorder.wants("init"):
            return
        record_values(recorder, self._row, "init", self._new(named), "train")

    def _new(self, named: Iterator[Tuple[str, Any]]) -> Iterator[Tuple[str, Any, None]]:
        lazy = self._model.torch.nn.parameter.UninitializedTensorMixin
        for site, tensor in named:
            if not self._is_new(tensor):
                continue
            if not isinstance(tensor, lazy):  # a lazy parameter comes again, by the optimizer, when it has content
                self._seen[id(tensor)] = weakref.ref(tensor)
                for look in self._model.before_init:
                    look(site, tensor)
            yield site, tensor, None

    def _is_new(self, tensor: Any) -> bool:
        known = self._seen.get(id(tensor))
        return known is None or known() is not tensor


def install(recorder: Recorder) -> None:
    """Patches nothing of torch: the observers of modules and of optimizers call it."""
    Init(model_of(recorder))
