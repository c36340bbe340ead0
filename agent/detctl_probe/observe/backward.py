"""Stage backward: `.grad` of an optimizer's parameters as its step is about to use them (rulings 3): reduced, unscaled, clipped.

No hooks on modules or on the autograd graph: full backward hooks break in-place views, a DDP communication hook changes the gradients.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Tuple

from detctl_probe.digest import Unfit
from detctl_probe.observe.modules_tensors import layout, print_tensor
from detctl_probe.observe.steps import Model, model_of
from detctl_probe.recorder import Recorder


class Gradients:
    """Reads and records gradients."""

    def __init__(self, model: Model) -> None:
        self._recorder = model.recorder
        self._row = model.recorder.observer("backward", "backward")
        self._row.installed = True

    def record(self, named: Iterable[Tuple[str, Any]]) -> None:
        """Records the gradient of each (site, parameter) that has one."""
        self.values((site, parameter.grad) for site, parameter in named)

    def values(self, named: Iterable[Tuple[str, Any]]) -> None:
        """Records each (site, gradient); None is skipped."""
        recorder = self._recorder
        if not recorder.recording:
            return
        with recorder.working():
            for site, grad in named:
                if grad is None:
                    continue
                for part, tensor in components(grad):
                    try:
                        value = print_tensor(tensor)
                    except Unfit as why:
                        recorder.unobserved("backward", site + part, str(why))
                        continue
                    recorder.record("backward", site + part, value, phase="train", evidence=layout(tensor))
                    self._row.fired += 1


def install(recorder: Recorder) -> None:
    """Nothing of torch is touched: the optimizer observer calls it."""
    Gradients(model_of(recorder))


def components(tensor: Any) -> Iterator[Tuple[str, Any]]:
    """A sparse tensor's dense parts with a suffix each; a dense tensor itself. A component keeps the order it was made in."""
    if not tensor.is_sparse:
        yield "", tensor
        return
    yield "[indices]", tensor._indices()
    yield "[values]", tensor._values()
