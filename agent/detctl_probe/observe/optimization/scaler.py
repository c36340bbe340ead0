"""GradScaler: records a step that it skips because of Inf or NaN as skipped; its scale is evidence of the loss."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any, List, Optional

from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.optimization.optimizer import optimizers_of
from detctl_probe.observe.optimization.origins import install_scaler
from detctl_probe.recording.recorder import Recorder


def install(recorder: Recorder) -> None:
    """Wraps step and scale of every GradScaler class that torch defines."""
    torch = sys.modules["torch"]
    model = model_of(recorder)
    row = recorder.observer("scaler", "update")
    for kind in _classes(torch):
        _wrap_step(kind, model, Guarded(model, row))
        _wrap_scale(kind, model)
        install_scaler(optimizers_of(model).origins, kind)
    row.installed = True


def _classes(torch: Any) -> List[Any]:
    """torch.amp's since 2.3, torch.cuda.amp's before; a subclass that only inherits is covered by its parent."""
    found: List[Any] = []
    for holder in (getattr(torch, "amp", None), getattr(getattr(torch, "cuda", None), "amp", None)):
        kind = getattr(holder, "GradScaler", None)
        if kind is not None and "step" in kind.__dict__ and kind not in found:
            found.append(kind)
    return found


def _wrap_step(kind: Any, model: Model, guarded: Guarded) -> None:
    original = kind.step
    watch = optimizers_of(model)

    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        ended = model.ended
        result = original(self, *args, **kwargs)
        # A disabled scaler only calls step, and a step that ended has been recorded.
        if model.ended == ended and self.is_enabled() and model.aside() is None and model.mine():
            guarded(watch.skipped, args[0] if args else kwargs.get("optimizer"))
        return result

    kind.step = compiled.hide(step)


def _wrap_scale(kind: Any, model: Model) -> None:
    original = kind.scale

    @functools.wraps(original)
    def scale(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        scaler = weakref.ref(self)
        model.read_scale_by(lambda: _scale(scaler()))
        return result

    kind.scale = compiled.hide(scale)


def _scale(scaler: Any) -> Optional[float]:
    """The scale; None if reading it would wait for a GPU."""
    tensor = getattr(scaler, "_scale", None)
    if tensor is None or tensor.device.type != "cpu":
        return None
    return float(tensor)
