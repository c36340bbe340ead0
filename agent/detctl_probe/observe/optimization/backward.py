"""Records stage backward: `.grad` of parameters just before the optimizer's step uses it, reduced, unscaled and clipped (docs/adr/0012).

It sets no hooks on modules or on the autograd graph, because full backward hooks break in-place views and a DDP communication hook
changes the gradients (docs/adr/0013).
"""

from __future__ import annotations

from typing import Any, Iterable, Tuple

from detctl_probe.observe.model.steps import Model, model_of
from detctl_probe.observe.model.tensors import record_values
from detctl_probe.recording.recorder import Recorder


class Gradients:
    """Reads and records gradients."""

    def __init__(self, model: Model) -> None:
        self._recorder = model.recorder
        self._row = model.recorder.observer("backward", "backward")
        self._row.installed = True

    def record(self, named: Iterable[Tuple[str, Any]]) -> None:
        """Records the gradient of each (site, parameter) that has one."""
        if self._recorder.takes("backward"):
            self.values((site, parameter.grad) for site, parameter in named)

    def values(self, named: Iterable[Tuple[str, Any]]) -> None:
        """Records each (site, gradient); None is skipped."""
        if self._recorder.takes("backward"):
            entries = [(site, grad, None) for site, grad in named if grad is not None]
            record_values(self._recorder, self._row, "backward", entries, "train")


def install(recorder: Recorder) -> None:
    """Patches nothing of torch: the observer of optimizers calls it."""
    Gradients(model_of(recorder))
