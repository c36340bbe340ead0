"""Stage forward: what each module returned, by torch's global forward hooks.

The site is the module's path (naming.py); a wrapper (DDP, torch.compile) is recorded only if the wrapped module was not. Recomputations
inside backward, tracing and torch.func leave no record. Without a DataLoader, the arguments of the first model of a step stand for the
batch (site `input[0]`). The outermost call decides the phase: `eval` if the root is in eval mode or gradients are off. A module without
parameters (a loss) leaves the phase as it was unless gradients are off. A batch is taken before its forward, so `batch_phase` decides by
the model's mode and by whether gradients are on.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from typing import Any, Callable, List, Optional, Tuple

from detctl_probe.observe.model import compiled, openmp, steps
from detctl_probe.observe.model.init import Init
from detctl_probe.observe.model.naming import Named, in_evaluation, stateless
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.model.tensors import record_output, record_values, tensors
from detctl_probe.recording.recorder import WORKER, Recorder
from detctl_probe.recording.undecided_batches import UNDECIDED

_FOREIGN = ("torchvision.transforms.", "torchaudio.transforms.")


class _Call:
    """A call of a module that has not returned."""

    __slots__ = ("inside", "key", "recorded", "silent", "site", "wrapper")

    def __init__(self, key: int, site: str, wrapper: bool, silent: bool, inside: bool = True) -> None:
        self.key = key
        self.site = site
        self.wrapper = wrapper
        self.silent = silent  # inside something that is not part of the model
        self.inside = inside  # of a root: whether what runs inside is recorded
        self.recorded = False  # a module of the same site was recorded inside


class Modules:
    """Keeps the stack of calls of each thread, and records what they return."""

    def __init__(self, model: Model, inside_data: Callable[[], bool]) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("modules", "forward")
        self._init = Init(model)
        self._inside_data = inside_data
        self._inside = model.recorder.settings.level != "step"  # whether modules inside a root are recorded
        self.local = threading.local()
        self._batches = model.recorder.observer("batches", "batch")
        self._fed = (-1, -1)  # (step, micro) whose input was recorded
        model.read_site_by(self.site)

    def site(self) -> Optional[str]:
        """The site of the current module of this thread; None outside of all."""
        stack: Optional[List[_Call]] = getattr(self.local, "stack", None)
        return stack[-1].site or None if stack else None

    def enter(self, module: Any, args: Any = ()) -> None:
        """A module is called with `args`."""
        stack: Optional[List[_Call]] = getattr(self.local, "stack", None)
        if stack is None:
            stack = self.local.stack = []
        if self._inside_data() or self._recorder.role == WORKER:
            return
        if not stack:
            if not self._left_out(self._model.aside()):
                self._enter_root(module, stack, args)
            return
        caller = stack[-1]
        entry = self._model.names.module(module)
        if entry is None and not caller.silent:
            entry = self._learn(module, stack)
        if entry is None:
            site = "%s.~%s" % (caller.site, type(module).__qualname__)
            stack.append(_Call(id(module), site, False, caller.silent or compiled.is_generated(module)))
        else:
            stack.append(_Call(id(module), entry.site, entry.wrapper, caller.silent))

    def leave(self, module: Any, output: Any) -> None:
        """A module returned, or raised (output is None)."""
        stack: Optional[List[_Call]] = getattr(self.local, "stack", None)
        if not stack:
            return
        key = id(module)
        while stack and stack[-1].key != key:
            if not any(call.key == key for call in stack):
                return
            stack.pop()
        call = stack.pop()
        if call.silent or output is None or not self._recorder.takes("forward"):
            return
        if self._left_out(self._model.inner_aside()):
            return
        if not (call.wrapper and call.recorded):
            self._record(call.site, output)
            if call.wrapper and type(module).__name__ == "OptimizedModule":
                self._recorder.unobserved(
                    "forward", "inside %s" % call.site, "it is compiled, so only its output is observed"
                )
        if stack and stack[-1].site == call.site:
            stack[-1].recorded = True

    def _left_out(self, aside: Optional[str]) -> bool:
        """Whether there is a reason not to record; reports it as unobserved if the values are recorded nowhere else."""
        if aside is not None and aside not in ("backward", "compiling"):
            self._recorder.unobserved(
                "forward", "modules under %s" % aside, "modules have no values of their own there"
            )
        return aside is not None

    def _enter_root(self, module: Any, stack: List[_Call], args: Any) -> None:
        if type(module).__module__.startswith(_FOREIGN) or (
            compiled.is_generated(module) and next(module.parameters(), None) is None
        ):
            stack.append(_Call(id(module), "", False, True))
            return
        if getattr(module, "_is_replica", False) or not self._model.mine():
            self._recorder.unobserved("forward", "modules in other threads", "their order depends on timing")
            stack.append(_Call(id(module), "", False, True))
            return
        self._model.settle(generated=compiled.is_generated(module))
        self._recorder.begin()
        self._set_phase(module)
        evaluation = self._in_evaluation(module)
        if self._model.state_due and self._recorder.phase == "train" and not evaluation and len(self._model.made):
            self._model.note_state()
        if not stateless(module):
            self._recorder.called_in(self._recorder.phase)
        entry = self._model.names.module(module)
        first = entry is None or not entry.is_root or (in_evaluation(entry.site) and not evaluation)
        if entry is None or first:
            entry = self._model.names.add_root(module, evaluation)
        self._model.entered = (self._recorder.step, self._recorder.micro)
        if first:
            self._init.module(module, entry.site)
            if evaluation and self._recorder.undecided:
                # It may be a teacher, which the first step of the training calls without gradients before the model.
                self._recorder.when_decided(functools.partial(self._batch_decided, weakref.ref(module)))
        self._record_input(module, args)
        inside = self._inside and self._recorder.takes("forward")
        stack.append(_Call(id(module), entry.site, entry.wrapper, False, inside))

    def _batch_decided(self, root: Any, phase: str) -> None:
        """The batch that a root was called for is for `phase`: a root of the training gets its name there, and its record of stage init."""
        module = root()
        if phase == "train" and module is not None:
            entry = self._model.names.module(module)
            if entry is not None and in_evaluation(entry.site):
                self._init.module(module, self._model.names.add_root(module).site)

    def _in_evaluation(self, module: Any) -> bool:
        """Whether a root's call belongs to an evaluation, and not to a step of the training whose batch was taken already."""
        recorder = self._recorder
        if recorder.phase != "eval" or recorder.fed == (recorder.step, recorder.micro):
            return False
        if self._model.torch.is_grad_enabled():
            if self._model.trains_in_eval:
                return False
            self._model.called_in_eval(module)
        return True

    def _record_input(self, module: Any, args: Any) -> None:
        """Records stage batch of a hand-written loop: inputs of the first root with parameters in each micro-step."""
        recorder = self._recorder
        now = (recorder.step, recorder.micro)
        if self._batches.fired or self._fed == now or not recorder.recording or stateless(module):
            return
        if recorder.phase != "train":
            return
        self._fed = now
        self._record_parts("batch", "input", args)

    def _learn(self, module: Any, stack: List[_Call]) -> Optional[Named]:
        """Names a module that no walk has seen: walking its caller again finds one that was added since."""
        names = self._model.names
        for root, site in names.roots():
            if site == stack[0].site:
                names.refresh(root, site)
        return names.module(module)

    def batch_phase(self) -> Optional[str]:
        """The phase of a batch that is taken now: eval if gradients are off, train if the model is in training mode, else UNDECIDED.

        The model is the first root with parameters; the mode of one that is trained in eval mode does not count. Without a root, as
        before the first batch, what the program does with the batch decides. None inside other threads.
        """
        if not self._model.mine():
            return None
        if not self._model.torch.is_grad_enabled():
            return "eval"
        names = self._model.names
        for root, _ in names.trained_roots() or names.roots():
            if not stateless(root):
                return "train" if root.training or self._model.trains_in_eval else UNDECIDED
        return UNDECIDED

    def _set_phase(self, module: Any) -> None:
        if not self._model.torch.is_grad_enabled():
            self._recorder.set_phase("eval")
        elif not stateless(module):
            self._recorder.set_phase("train" if module.training else "eval")

    def _record(self, site: str, output: Any) -> None:
        if isinstance(output, self._model.torch.Tensor):
            record_output(self._recorder, self._row, site, output, self._recorder.phase)
        else:
            self._record_parts("forward", site, output)

    def _record_parts(self, stage: str, site: str, value: Any) -> None:
        with self._recorder.working(stage):
            entries = [(site + path, tensor, None) for path, tensor in tensors(value)]
            record_values(self._recorder, self._row, stage, entries, self._recorder.phase)


def install(recorder: Recorder) -> None:
    """Registers the two global hooks, and with them what steps and compiled regions need."""
    torch = sys.modules["torch"]
    model = model_of(recorder)
    row = recorder.observer("modules", "forward")
    steps.install(recorder)
    compiled.install(recorder)
    openmp.install(recorder)
    watch = Modules(model, _inside_data())
    guarded = Guarded(model, row)
    is_compiling = compiled.compiling(torch)
    enter, leave, local = watch.enter, watch.leave, watch.local

    # Inside a root of which only the output is recorded, nothing is called; its id shows that a root is inside itself.
    def before(module: Any, args: Any) -> None:
        if is_compiling():
            return
        stack = getattr(local, "stack", None)
        if stack and not stack[0].inside and stack[-1].key != id(module):
            return
        guarded(enter, module, args)

    def after(module: Any, args: Any, output: Any) -> None:
        if is_compiling():
            return
        stack = getattr(local, "stack", None)
        if not stack or (not stack[0].inside and stack[-1].key != id(module)):
            return
        guarded(leave, module, output)

    hooks: Tuple[Any, ...] = (before, after)
    for hook in hooks:
        hook._detctl = True
        compiled.hide(hook)
    compiled.hide(Guarded.__call__)
    torch.nn.modules.module.register_module_forward_pre_hook(before)
    # always_call: a forward that raises must leave the stack, or the next root would look nested.
    torch.nn.modules.module.register_module_forward_hook(after, always_call=True)
    recorder.read_batch_phase_by(functools.partial(guarded, watch.batch_phase))
    row.installed = True


def _inside_data() -> Callable[[], bool]:
    """Whether a dataset or a transform runs: the observers of data record what happens there."""
    try:
        from detctl_probe.observe.data import transforms
    except ImportError:
        return lambda: False
    return transforms.inside_data
