"""Stage loss: the tensor on which backward was called (site `loss`), and the outputs given to autograd.grad (site `grad`).

torch.Tensor.backward goes through torch.autograd.backward, which is wrapped. With a GradScaler it is the scaled loss, with the
scale as evidence. A backward inside backward (checkpointing, double backward) or under a torch.func transform has no loss.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Dict, List, Optional

from detctl_probe.digest.n6 import NoDigestError
from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.model.tensors import fingerprint_tensor, layout
from detctl_probe.observe.optimization.optimizer import optimizers_of
from detctl_probe.recording.recorder import Recorder


class Losses:
    """Observes backward and grad."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("loss", "loss")
        self._steps = optimizers_of(model)

    def begins(self, site: str, outputs: Any) -> bool:
        """Records what was differentiated; returns False if the call is not part of the training."""
        if self._model.aside() is not None:
            return False
        if not self._model.mine():
            if site == "loss":  # autograd.grad returns the gradients, and adds them to nothing
                self._steps.backward_by_another()
            return False
        self._model.settle()
        self._recorder.begin()
        if self._recorder.phase == "eval":
            self._model.trains_in_eval = True
            for module in self._model.trained_in_eval():
                self._steps.init.module(module, self._model.names.add_root(module).site)
        self._recorder.called_in("train")
        self._recorder.set_phase("train")
        if self._recorder.recording:
            self._record(site, outputs)
        return True

    def backward_ended(self) -> None:
        """A backward pass is a micro-step; without an optimizer it is the whole step, which ends when the next begins."""
        if not self._model.had_optimizer:
            self._steps.gradients.record(self._steps.update.gradients_by_hand())
            self._model.by_hand = True
        else:
            self._model.hidden.backward_ended(self._model.ended)
        self._recorder.end_micro()

    def grad_ended(self, inputs: Any, result: Any) -> None:
        """autograd.grad of the model's parameters, without any optimizer, is a training step too."""
        if self._model.had_optimizer or not isinstance(result, (tuple, list)):
            return
        differentiated = [inputs] if isinstance(inputs, self._model.torch.Tensor) else list(inputs)
        named = [(self._model.names.tensor(one), result[place]) for place, one in enumerate(differentiated)]
        known = [(site, value) for site, value in named if site is not None]
        if known:
            self._steps.gradients.values(known)
            self._recorder.end_micro()
            self._model.by_hand = True

    def _record(self, site: str, outputs: Any) -> None:
        with self._recorder.working("loss"):
            for tensor in self._tensors(outputs):
                try:
                    value = fingerprint_tensor(tensor, sketch=self._recorder.keeps_evidence)
                except NoDigestError as why:
                    self._recorder.unobserved("loss", site, str(why))
                    continue
                self._recorder.record("loss", site, value, phase="train", evidence=self._evidence(tensor))
                self._row.fired += 1

    def _tensors(self, outputs: Any) -> List[Any]:
        kind = self._model.torch.Tensor
        if isinstance(outputs, kind):
            return [outputs]
        # Only the callee may consume a generator; gradient edges have no value.
        return [one for one in outputs if isinstance(one, kind)] if isinstance(outputs, (list, tuple)) else []

    def _evidence(self, tensor: Any) -> Optional[Dict[str, Any]]:
        found = dict(layout(tensor) or {})
        scale = self._model.scale()
        if scale is not None:
            found["scale"] = scale
        return found or None


def install(recorder: Recorder) -> None:
    """Wraps torch.autograd.backward and torch.autograd.grad."""
    torch = sys.modules["torch"]
    model = model_of(recorder)
    row = recorder.observer("loss", "loss")
    watch = Losses(model)
    guarded = Guarded(model, row)
    is_compiling = compiled.compiling(torch)
    torch.autograd.backward = _backward(torch.autograd.backward, watch, guarded, is_compiling)
    torch.autograd.grad = _grad(torch.autograd.grad, watch, guarded, is_compiling)
    row.installed = True


def _backward(original: Callable[..., Any], watch: Losses, guarded: Guarded, is_compiling: Callable[[], bool]) -> Any:
    @functools.wraps(original)
    def backward(*args: Any, **kwargs: Any) -> Any:
        if is_compiling():
            return original(*args, **kwargs)
        watched = guarded(watch.begins, "loss", args[0] if args else kwargs.get("tensors"))
        result = original(*args, **kwargs)
        if watched:
            guarded(watch.backward_ended)
        return result

    return compiled.hide(backward)


def _grad(original: Callable[..., Any], watch: Losses, guarded: Guarded, is_compiling: Callable[[], bool]) -> Any:
    @functools.wraps(original)
    def grad(*args: Any, **kwargs: Any) -> Any:
        if is_compiling():
            return original(*args, **kwargs)
        watched = guarded(watch.begins, "grad", args[0] if args else kwargs.get("outputs"))
        result = original(*args, **kwargs)
        if watched:
            guarded(watch.grad_ended, args[1] if len(args) > 1 else kwargs.get("inputs"), result)
        return result

    return compiled.hide(grad)
