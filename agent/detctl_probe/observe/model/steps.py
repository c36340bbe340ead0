"""Decides when a step ends (docs/adr/0011), and holds what the model observers share.

A step ends at an optimizer's step() or GradScaler's; each of several optimizers counts; an optimizer with a closure makes one step.
Without an Optimizer each backward() is a step, and the update is written by hand after it. Such a step ends when the next begins: a
loader is called, a root is called, backward runs again, or the process ends. Only the thread that trains counts.
"""

from __future__ import annotations

import atexit
import functools
import sys
import threading
import weakref
from typing import Any, Callable, List, Optional, Tuple
from weakref import WeakSet

from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.hidden_steps import HiddenSteps
from detctl_probe.observe.model.naming import Names
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.coverage import Observer
from detctl_probe.recording.recorder import Recorder


class Model:
    """What the model observers of one recorder share."""

    def __init__(self, recorder: Recorder) -> None:
        torch = sys.modules["torch"]
        self.torch = torch
        self.recorder = recorder
        self.names = Names()
        self.inner_aside = compiled.inner_aside(torch)
        self.aside = compiled.aside(torch, self.inner_aside)
        self.pause = compiled.pausing(torch)
        self.optimizers: Any = WeakSet()
        self.had_optimizer = False
        self.ended = 0  # steps that optimizers ended, skipped ones included
        self.scale: Callable[[], Optional[float]] = lambda: None  # of the GradScaler that scaled last
        self.by_hand = False  # a backward without optimizer waits for its step to end
        self.trains_in_eval = False  # a backward followed a forward in eval mode: mode and phase differ
        self.made: Any = WeakSet()  # every optimizer
        self.state_due = True  # what objects of the user keep is to be noted before the next step (kept_state.py)
        self.note_state: Callable[[], None] = lambda: None
        self.entered: Optional[Tuple[int, int]] = None  # (step, micro) in which a root was called last
        self.site: Callable[[], Optional[str]] = lambda: None  # of the current module in this thread
        # Called with (site, tensor) of each initial weight before it is digested.
        self.before_init: List[Callable[[str, Any], None]] = []
        self.hidden = HiddenSteps(recorder, self.made)
        self._called: List[
            Tuple[Tuple[int, int], Any]
        ] = []  # roots called in eval mode with gradients on, by (step, micro)
        self._settle: List[Callable[[], None]] = []
        self._thread: Optional[int] = None

    def mine(self) -> bool:
        """Whether this thread is the one that trains: the first that calls this."""
        thread = threading.get_ident()
        if self._thread is None:
            self._thread = thread
        return self._thread == thread

    def takes_over(self) -> bool:
        """Makes the main thread the one that trains, if it makes the first step: other threads may only have computed gradients."""
        if (
            self.ended
            or self.by_hand
            or self.recorder.step
            or threading.current_thread() is not threading.main_thread()
        ):
            return False
        self._thread = threading.get_ident()
        return True

    def called_in_eval(self, module: Any) -> None:
        """A root in eval mode is called with gradients on: whether it is trained so shows when backward runs."""
        now = (self.recorder.step, self.recorder.micro)
        self._called = [(at, one) for at, one in self._called if at == now and one() not in (None, module)]
        self._called.append((now, weakref.ref(module)))

    def trained_in_eval(self) -> List[Any]:
        """The roots that were called in eval mode with gradients on since the last backward."""
        now = (self.recorder.step, self.recorder.micro)
        called, self._called = self._called, []
        return [module for at, one in called if at == now and (module := one()) is not None]

    def read_site_by(self, site: Callable[[], Optional[str]]) -> None:
        """site() returns the site of the current module in this thread, or None outside of all."""
        self.site = site

    def read_scale_by(self, scale: Callable[[], Optional[float]]) -> None:
        """scale() returns the scale of the GradScaler that scaled last, or None if reading it would wait for a GPU."""
        self.scale = scale

    def on_settle(self, callback: Callable[[], None]) -> None:
        """callback() records the update of a step by hand, before the step ends."""
        self._settle.append(callback)

    def settle(self, generated: bool = False) -> None:
        """The next step begins: ends one that was left open by hand, or hidden by the compiler.

        generated: the inside of a compiled region begins; it may be the hidden step itself, whose versions have moved already.
        """
        if self.by_hand and self.mine():
            self.by_hand = False
            for callback in self._settle:
                callback()
            self.recorder.end_step()
        elif self.hidden.waiting and not generated and self.mine():
            self.hidden.settle(self.ended)


class Guarded:
    """Runs an observer's code: nothing escapes into the training, the compiler skips it, and a failure is reported once."""

    def __init__(self, model: Model, row: Observer) -> None:
        self._model = model
        self._row = row

    def __call__(self, work: Callable[..., Any], *args: Any) -> Any:
        """work(*args), or None if it failed, the recorder is sealed, or this thread is inside a digest."""
        prior = self._model.pause(None)  # first: the calls below are Python frames too
        recorder = self._model.recorder
        costs = recorder.costs  # a fork replaces them
        outer = costs.enter(self._row.stage)
        try:
            return None if recorder.sealed or recorder.busy else work(*args)
        except Exception as error:
            if from_signal(error):
                raise
            text = "%s: %s" % (type(error).__name__, error)
            if self._row.failed is None:
                self._row.failed = text
                recorder.note("observer-failed", "%s: %s" % (self._row.name, text), stage=self._row.stage)
            return None
        finally:
            costs.leave(outer)
            self._model.pause(prior)


_models: List[Model] = []


def model_of(recorder: Recorder) -> Model:
    """The shared state of a recorder's model observers."""
    for model in _models:
        if model.recorder is recorder:
            return model
    model = Model(recorder)
    _models.append(model)
    return model


def install(recorder: Recorder) -> None:
    """Lets loaders and the end of the process settle a step by hand."""
    model = model_of(recorder)
    loader = sys.modules.get("torch.utils.data.dataloader")
    if loader is not None:
        for owner, name in ((loader.DataLoader, "__iter__"), (loader._BaseDataLoaderIter, "__next__")):
            _settling(model, owner, name)
    # Python runs these last in, first out: this one comes before the recorder's seal, which was registered earlier.
    atexit.register(model.settle)


def _settling(model: Model, owner: Any, name: str) -> None:
    original = getattr(owner, name)
    starts = name == "__iter__"

    @functools.wraps(original)
    def method(self: Any) -> Any:
        if model.by_hand or model.hidden.waiting:
            model.settle()
        if starts:
            model.state_due = True
        return original(self)

    setattr(owner, name, method)
