"""Steps that no wrapper sees: torch.compile(optimizer.step), or a compiled function that calls step.

Dynamo compiles the step with the probe's wrapper folded away, so the probe is not called when it runs. Its effect shows: between a
backward and the next event of the training (a batch, a forward, a backward, the end), parameters of an optimizer have moved on to another
version although no step was counted. The step is ended there, with its update as always. Its gradients are what `.grad` holds then; once
such a step was found, they are what `.grad` holds after each backward (before any clipping). Versions only find steps: they save no digest.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, List, Optional, Tuple
from weakref import WeakSet

from detctl_probe.observe.model import compiled
from detctl_probe.recording.recorder import Recorder


class HiddenSteps:
    """Watches the optimizers of a process that compiles; costs nothing in others. made: every optimizer, a set that grows."""

    def __init__(self, recorder: Recorder, made: Any) -> None:
        self._recorder = recorder
        self._made = made
        self.waiting = False  # a backward has ended and no step since
        self._before: List[Tuple[Any, Dict[int, int]]] = []
        self._ended = 0
        self._met: Any = WeakSet()  # optimizers that had such a step
        self._gradients: Optional[Callable[[Any], None]] = None
        self._update: Optional[Callable[[Any], None]] = None

    def record_by(self, gradients: Callable[[Any], None], update: Callable[[Any], None]) -> None:
        """gradients(optimizer) and update(optimizer) record a hidden step; until this is called none is recorded."""
        self._gradients, self._update = gradients, update

    def backward_ended(self, ended: int) -> None:
        """Remembers the versions that a hidden step would change. ended: steps that optimizers have ended so far."""
        if "torch._dynamo" not in sys.modules:
            return
        made = [one for one in self._made if hasattr(one, "param_groups")]
        self._before = [(optimizer, _versions(optimizer)) for optimizer in made]
        self._ended = ended
        self.waiting = True
        for optimizer in made:
            if optimizer in self._met and self._gradients is not None:
                self._gradients(optimizer)

    def settle(self, ended: int) -> None:
        """Another event begins: ends the step of each optimizer whose parameters have changed meanwhile."""
        self.waiting = False
        before, self._before = self._before, []
        if ended != self._ended or not compiled.compiled_frames():
            return
        for optimizer, versions in before:
            if versions != _versions(optimizer) and self._gradients is not None and self._update is not None:
                if optimizer not in self._met:
                    self._met.add(optimizer)
                    self._gradients(optimizer)
                    why = "an optimizer's step is compiled, so gradients are read after it or after backward"
                    self._recorder.unobserved("backward", "gradients inside a compiled step", why)
                self._update(optimizer)


def _versions(optimizer: Any) -> Dict[int, int]:
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            try:
                found[id(parameter)] = parameter._version
            except RuntimeError:  # an inference tensor has none
                pass
    return found
