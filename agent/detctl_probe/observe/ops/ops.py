"""Level `op`: records every ATen operation in the stage in which it runs, in addition to what level `module` records.

A TorchDispatchMode sees each operation below autograd and autocast, with the kernels chosen as ever. Site:
`<module path>:aten.<op>` (`[i]` where it has several outputs); outside of any module `loop:`. The digest is of what came out, or of
what was written to. The evidence holds the digests of the inputs (before the call), the plain arguments and the user's line:

    {"in": ["8c1f…", …], "args": "(T, T, None, [1, 1])", "at": "{cwd}/train.py:31"}

The first divergent operation is then the first whose inputs match and whose output differs
(coordinator, comparison/first_divergent_operation.py). If an operation draws, the state of the generator is one of its inputs. In backward,
module and line are those of the forward operation, by autograd's sequence numbers; a recomputation (checkpointing) belongs to backward.

The mode is entered once, when the window begins and if no other mode is active. It is never left, since modes of the user may lie above it
by then; after the window it passes everything on. Compiled regions stay compiled (`ignore_compile_internals`). A torch without that
option is observed only as long as nothing is compiled.
"""

from __future__ import annotations

import sys
from hashlib import blake2b
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from detctl_probe.digest.n6 import NoDigestError
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.model.tensors import components, fingerprint_tensor, fingerprint_tensors, layout
from detctl_probe.observe.ops.op_schemas import Schema, format_arguments, schema_of, tensors_of
from detctl_probe.observe.optimization.optimizer import optimizers_of
from detctl_probe.observe.randomness.rng import read_cuda, read_torch
from detctl_probe.recording.recorder import WORKER, Recorder

LEVEL = "op"
OUTSIDE = "loop"
INPUTS_MAX = 8  # an operation over lists (foreach, fused) has hundreds: one digest stands for them
ORIGINS_MAX = 200_000  # sequence numbers of one backward

Origin = Tuple[str, Optional[str]]  # module, line

# Called with (stage, digest as in the evidence, tensor, whether an operation took it) of each value: intervene/values.py.
on_value: List[Callable[[str, str, Any, bool], None]] = []


class _Call:
    """What was seen before an operation ran."""

    __slots__ = ("before", "evidence", "module", "stage")

    def __init__(self, stage: str, module: str, evidence: Dict[str, Any], before: Dict[int, str]) -> None:
        self.stage = stage
        self.module = module
        self.evidence = evidence
        self.before = before  # in stage update: id of a tensor -> its digest before the operation


class Ops:
    """Decides which operations are recorded, and records them."""

    def __init__(self, model: Model, inside_data: Callable[[], bool]) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("ops", "forward")
        self._inside_data = inside_data
        self._optimizers = optimizers_of(model)
        self._backward_of: Callable[[], int] = model.torch._C._current_graph_task_id
        self._origins: Dict[int, Origin] = {}
        autograd = model.torch._C._autograd
        self._sequence_number: Optional[Callable[[], int]] = getattr(autograd, "_get_sequence_nr", None)
        self._node: Optional[Callable[[], Any]] = getattr(model.torch._C, "_current_autograd_node", None)

    def before(self, schema: Schema, args: Sequence[Any], kwargs: Dict[str, Any]) -> Optional[_Call]:
        """Observes the inputs; returns None if the operation is not the training's, or needs no record."""
        recorder = self._recorder
        in_backward = self._backward_of() != -1
        if recorder.role == WORKER or not (in_backward or self._model.mine()):
            return None
        if (not in_backward and self._model.aside() is not None) or self._inside_data():
            return None
        origin = self._origin(in_backward)
        if schema.silent:
            return None
        stage = self._stage(in_backward)
        if not recorder.wants(stage):
            return None
        if any(_has_no_content(tensor) for tensor in tensors_of((args, kwargs))):
            return None
        inputs = schema.inputs(args, kwargs)
        with recorder.working():
            found, before = self._inputs(inputs, schema, stage)
            evidence: Dict[str, Any] = {"in": found, "args": format_arguments(args, kwargs)}
            if origin[1] is not None:
                evidence["at"] = origin[1]
        return _Call(stage, origin[0], evidence, before)

    def after(
        self, call: _Call, op: Any, schema: Schema, args: Sequence[Any], kwargs: Dict[str, Any], out: Any
    ) -> None:
        """Records what came out of the operation, or what it wrote to."""
        recorder = self._recorder
        with recorder.working():
            results = schema.written(args, kwargs) or schema.kept(tensors_of(out))
            for number, tensor in enumerate(results):
                where = "%s:%s" % (call.module, op) if len(results) == 1 else "%s:%s[%d]" % (call.module, op, number)
                for part, dense in components(tensor):
                    try:
                        value = fingerprint_tensor(dense, sketch=True, wait=True)
                    except NoDigestError as why:
                        recorder.unobserved(call.stage, where + part, str(why))
                        continue
                    evidence = {**call.evidence, **(layout(dense) or {})}
                    if id(dense) in call.before:
                        evidence["was"] = call.before[id(dense)]
                    recorder.record(call.stage, where + part, value, evidence=evidence)
                    self._row.fired += 1
                    for see in on_value:
                        see(call.stage, value.digest.hex()[:16], dense, False)

    def _stage(self, in_backward: bool) -> str:
        """The stage that runs now; outside of modules, steps and backward, the last one that was seen decides."""
        model, recorder = self._model, self._recorder
        if in_backward:
            return "backward"
        if model.site() is not None:
            return "forward"
        if model.entered == (recorder.step, recorder.micro):
            return "loss"
        if self._optimizers.running:
            return "update"
        if recorder.micro:
            return "backward"  # between backward and the step: clipping, unscaling
        return "init" if model.entered is None and not recorder.step else "forward"

    def _origin(self, in_backward: bool) -> Origin:
        """(module, line) of this operation; forward operations keep theirs for the backward that follows."""
        if in_backward:
            node = self._node() if self._node is not None else None
            number = node._sequence_nr() if node is not None else -1
            return self._origins.get(number, ("backward", None))
        module = self._model.site()
        if module is None:
            module = "optimizer" if self._optimizers.running else OUTSIDE
        origin = (module, self._line())
        if self._sequence_number is not None and self._model.torch.is_grad_enabled():
            if len(self._origins) > ORIGINS_MAX:
                self._origins.clear()
            # Autograd has made the operation's node by now and given it the number before this one.
            self._origins.setdefault(self._sequence_number() - 1, origin)
        return origin

    def _line(self) -> Optional[str]:
        frame = self._recorder.callers.user_frame(2)
        if frame is None:
            return None
        return "%s:%d" % (self._recorder.logical(frame.f_code.co_filename), frame.f_lineno)

    def _inputs(self, tensors: List[Any], schema: Schema, stage: str) -> Tuple[List[str], Dict[int, str]]:
        dense = [part for tensor in tensors for _, part in components(tensor)]
        found = [
            fingerprint.digest.hex()[:16] if not isinstance(fingerprint, NoDigestError) else "?"
            for fingerprint in fingerprint_tensors(dense, wait=True)
        ]
        before = {id(part): found[place] for place, part in enumerate(dense)} if stage == "update" else {}
        for see in on_value:
            for place, part in enumerate(dense):
                if found[place] != "?":
                    see(stage, found[place], part, True)
        if len(found) > INPUTS_MAX:
            found = [blake2b("".join(found).encode(), digest_size=8).hexdigest()]
        if schema.draws:
            states = [
                state for state in [read_torch(), *(fingerprint for _, fingerprint in read_cuda())] if state is not None
            ]
            found += ["rng:" + state.digest.hex()[:16] for state in states]
        return found, before


def _has_no_content(tensor: Any) -> bool:
    """Whether a tensor is fake or meta: the operation is being traced."""
    fake = getattr(sys.modules.get("torch._subclasses.fake_tensor"), "FakeTensor", ())
    return tensor.device.type == "meta" or isinstance(tensor, fake)


def install(recorder: Recorder) -> None:
    """Enters the mode now or when the window begins; does nothing at other levels."""
    if recorder.settings.level != LEVEL:
        return
    from detctl_probe.observe.model.modules import _inside_data

    model = model_of(recorder)
    row = recorder.observer("ops", "forward")
    mode = _mode(model, Ops(model, _inside_data()))
    entered: List[bool] = []

    def enter() -> None:
        if entered or not recorder.recording:
            return
        entered.append(True)
        why = _hindrance()
        if why is None:
            mode.__enter__()
        else:
            recorder.unobserved("forward", "operations", why)

    enter()
    recorder.at_step_start(enter)
    row.installed = True


def _hindrance() -> Optional[str]:
    """Why the mode must not be entered; None: it may."""
    dispatch = sys.modules["torch.utils._python_dispatch"]
    if dispatch._get_current_dispatch_mode_stack():
        return "another dispatch mode was active when the window began"
    if not hasattr(dispatch.TorchDispatchMode, "ignore_compile_internals") and "torch._dynamo" in sys.modules:
        return "this version of torch stops compiling under a dispatch mode"
    return None


def _mode(model: Model, ops: Ops) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    recorder = model.recorder
    guarded = Guarded(model, recorder.observer("ops", "forward"))

    class OpMode(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
        """See the module's docstring."""

        @classmethod
        def ignore_compile_internals(cls) -> bool:
            return True

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if not recorder.recording or recorder.busy:
                return func(*args, **kwargs)
            schema = schema_of(func)
            call = guarded(ops.before, schema, args, kwargs)
            out = func(*args, **kwargs)
            if call is not None:
                guarded(ops.after, call, func, schema, args, kwargs, out)
            return out

    return OpMode()
