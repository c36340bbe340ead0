"""Stages backward and update around every optimizer's step, and the end of the step.

The probe wraps step and does not use register_optimizer_step_pre_hook, for three reasons: torch 2.1 to 2.3 remove the hooking wrapper from
every optimizer when torch.compile is first used; a hook sees neither the end of a closure nor a step that raised; and it fires twice for a
subclass whose step calls its parent's. The class is wrapped when its first instance is made, outside of all other wrappers, where the
pre-step hook would be. LightningOptimizer and AcceleratedOptimizer only delegate and never run Optimizer.__init__: they count once.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from typing import Any, Callable, Dict, Iterator, Sequence, Set, Tuple
from weakref import WeakSet

from detctl_probe.observe.host.threads import started_at
from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.init import Init
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.optimization import closures, origins
from detctl_probe.observe.optimization.backward import Gradients
from detctl_probe.observe.optimization.before_step import BeforeStep
from detctl_probe.observe.optimization.kept_state import KeptState
from detctl_probe.observe.optimization.optimizer_update import Update
from detctl_probe.recording.recorder import CHILD, Recorder
from detctl_probe.recording.sampling import in_turn

THREADS_MAX = 64


class Optimizers:
    """Observes the steps of optimizers."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.gradients = Gradients(model)
        self.init = Init(model)
        self.update = Update(model)
        self.guarded = Guarded(model, model.recorder.observer("optimizer", "update"))
        self.origins = origins.Origins(model, self.guarded)
        self.before = BeforeStep(model, self.origins)
        self.kept = KeptState(model)
        if model.recorder.settings.uninstrumented_until is None:
            model.note_state = functools.partial(self.guarded, self.kept.note)
        model.hidden.record_by(
            functools.partial(self.guarded, self._gradients), functools.partial(self.guarded, self._ended)
        )
        self._depth = 0
        self._closed_at = -1  # the step whose closure has returned
        self._others: Set[Any] = set()  # lines that start other threads which make steps
        self._judged: Any = WeakSet()  # optimizers that other threads step
        self._backwards: Dict[
            int, Dict[str, Any]
        ] = {}  # thread that calls backward and has made no step -> where it was started

    def run(self, original: Callable[..., Any], optimizer: Any, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        """original(optimizer, *args, **kwargs), recorded if it is a step of the training and not a part of one."""
        closure = closures.find(args, kwargs)
        if (self._depth and self.model.mine()) or not self.guarded(self._begins, optimizer, closure is not None):
            return original(optimizer, *args, **kwargs)
        if closure is None:
            self.guarded(self._gradients, optimizer)
        else:
            followed = closures.followed(closure, functools.partial(self.guarded, self._closure_ended, optimizer))
            args, kwargs = closures.replace(args, kwargs, followed)
        self._depth += 1
        try:
            result = original(optimizer, *args, **kwargs)
        finally:
            self._depth -= 1
        self.guarded(self._ended, optimizer)
        return result

    @property
    def running(self) -> bool:
        """Whether a step of an optimizer runs."""
        return self._depth > 0

    def skipped(self, optimizer: Any) -> None:
        """GradScaler found Inf or NaN and left the parameters alone."""
        self._gradients(optimizer)
        self.update.skipped()
        self.model.ended += 1
        self.model.recorder.end_step(skipped=True)

    def named(self, optimizer: Any, *, whole: bool = False) -> Iterator[Tuple[str, Any]]:
        """(site, parameter) of every group: its name in the module, else `group0.3`. Those of the step's turn, or all of them."""
        recorder, name_of = self.model.recorder, self.model.names.trained
        rows: Sequence[Tuple[int, int, Any]] = [
            (g, p, parameter)
            for g, group in enumerate(optimizer.param_groups)
            for p, parameter in enumerate(group["params"])
        ]
        for g, p, parameter in rows if whole else in_turn(rows, recorder.step, recorder.settings):
            yield name_of(parameter) or "group%d.%d" % (g, p), parameter

    def _begins(self, optimizer: Any, has_closure: bool) -> bool:
        if self.model.aside() is not None:
            return False
        if not self.model.mine() and not self.model.takes_over():
            self._backwards.pop(threading.get_ident(), None)
            self._stepped_by_another(optimizer)
            return False
        self.model.recorder.begin()
        self.model.hidden.waiting = False
        if not has_closure:
            self._starts(optimizer)
        return True

    def _stepped_by_another(self, optimizer: Any) -> None:
        """Notes that not only the thread that trains steps its parameters, once for each line that starts such threads. A thread may train
        a model of its own."""
        if optimizer in self._judged or not self.model.optimizers:
            return
        self._judged.add(optimizer)
        owned = {id(one) for other in list(self.model.optimizers) for one in _parameters(other)}
        if not any(id(one) in owned for one in _parameters(optimizer)):
            return
        where = {**started_at(self.model.recorder), "at": self._here()}
        name = where.pop("thread")
        place = (where.get("file"), where.get("line"))
        if place not in self._others:
            self._others.add(place)
            self._note_threads("several threads make steps of an optimizer at the same time", "update", name, where)

    def _note_threads(self, text: str, stage: str, thread: str, where: Dict[str, Any]) -> None:
        """`where`: the line that starts the threads, and `at`, the line that they run."""
        more = {key: value for key, value in where.items() if key != "thread"}
        if where.get("at"):
            text += " (%s)" % where["at"]
        self.model.recorder.note("thread-step", text, stage=stage, thread=thread, **more)

    def _here(self) -> str:
        """`{cwd}/train.py:34`: the user's line that runs now."""
        found = self.model.recorder.callers.describe(self.model.recorder.callers.user_frame(3))
        return "%s:%d" % (found["file"], found["line"]) if found else ""

    def backward_by_another(self) -> None:
        """A thread that does not train calls backward: its gradients add to those of others unless it makes the steps itself."""
        thread = threading.get_ident()
        if len(self._backwards) < THREADS_MAX and thread not in self._backwards:
            self._backwards[thread] = {**started_at(self.model.recorder), "at": self._here()}

    def _gradients_of_others(self) -> None:
        for where in self._backwards.values():
            place = ("backward", where.get("file"), where.get("line"))
            if place not in self._others:
                self._others.add(place)
                text = "several threads call backward, and their gradients add up in the order of their timing"
                self._note_threads(text, "backward", where["thread"], where)
        self._backwards.clear()

    def _starts(self, optimizer: Any) -> None:
        """Records what an optimizer has before its update. A closure calls the model first, which names the parameters."""
        if optimizer not in self.model.optimizers:
            self.model.optimizers.add(optimizer)
            self._shared_with_processes(optimizer)
            self.init.optimizer(self.named(optimizer, whole=True))
        if self._backwards:
            self._gradients_of_others()
        if self.model.recorder.settings.uninstrumented_until is None:
            self.before.record(optimizer)
            if self.model.state_due:  # no module was called
                self.kept.note()

    def _shared_with_processes(self, optimizer: Any) -> None:
        """Notes that a child process updates weights in memory that it shares with other processes."""
        recorder = self.model.recorder
        if recorder.role != CHILD:
            return
        parameter = next((one for _, one in self.named(optimizer, whole=True)), None)
        if parameter is not None and parameter.device.type == "cpu" and parameter.is_shared():
            text = "several processes make steps on weights that they share"
            recorder.note("thread-step", text, stage="update", shared_memory=True, **recorder.caller())

    def _closure_ended(self, optimizer: Any) -> None:
        if self._closed_at != self.model.recorder.step:  # an optimizer may call its closure several times in a step
            self._closed_at = self.model.recorder.step
            self._starts(optimizer)
        self._gradients(optimizer)

    def _gradients(self, optimizer: Any) -> None:
        self.gradients.record(self.named(optimizer))

    def _ended(self, optimizer: Any) -> None:
        self.model.ended += 1
        try:
            self.update.record(optimizer, self.named(optimizer))
        finally:
            self.model.recorder.end_step()


def _parameters(optimizer: Any) -> Iterator[Any]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def install(recorder: Recorder) -> None:
    """Wraps each optimizer class when its first instance is made."""
    torch = sys.modules["torch"]
    model = model_of(recorder)
    watch = optimizers_of(model)
    base = torch.optim.Optimizer
    original = base._patch_step_function

    @functools.wraps(original)
    def patch_step_function(self: Any) -> Any:
        result = original(self)
        model.had_optimizer = True
        model.made.add(self)
        wrap(type(self), watch, compiled.compiling(torch))
        return result

    base._patch_step_function = patch_step_function
    if recorder.settings.uninstrumented_until is None:
        origins.install(watch.origins, torch)
    compiled.hide(Optimizers.run)
    recorder.observer("optimizer", "update").installed = True


def optimizers_of(model: Model) -> Optimizers:
    """One for each model; the scaler and the loss observer use it too."""
    found = model.__dict__.get("around_steps")
    if found is None:
        found = model.__dict__["around_steps"] = Optimizers(model)
        model.on_settle(functools.partial(found.guarded, found.update.by_hand))
    assert isinstance(found, Optimizers)
    return found


def wrap(kind: Any, watch: Optimizers, is_compiling: Callable[[], bool]) -> None:
    """Wraps the step that this class uses, once."""
    original = kind.step
    if hasattr(original, "_detctl"):
        return

    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_compiling():
            return original(self, *args, **kwargs)
        return watch.run(original, self, args, kwargs)

    # torch 2.1 unwraps a step that is `hooked` by its __wrapped__; the signature stays readable without it.
    step.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    del step.__dict__["__wrapped__"]
    step.hooked = True  # type: ignore[attr-defined]
    step._detctl = True  # type: ignore[attr-defined]
    kind.step = compiled.hide(step)
