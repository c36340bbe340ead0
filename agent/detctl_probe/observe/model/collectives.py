"""Stage collective: what the functions of torch.distributed take and give back, on this rank.

Sites: `world/all_reduce/in`, `world/all_reduce/out`; lists have `[0]`, `[1]` …; a group of some ranks is called `ranks0,2`. Inputs are
read before the call and outputs after it, or when Work.wait() returns if the call is asynchronous: records follow the order of the program,
never that of arrival.

The probe wraps the functions and nothing else. It sets no DDP communication hook, which would change the gradients (docs/adr/0013), and
calls no collective of its own. What torch calls in C++ is reported as unobserved: DDP's reducer (stage backward holds the reduced
gradients) and functional collectives (DTensor's redistribution, compiled regions). Collectives of pickled objects are not compared, since
their bytes hold paths and ids.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.observe.model.tensors import record_values, tensors
from detctl_probe.recording.recorder import Recorder


class _Spec(NamedTuple):
    """The arguments of a call that go in and come out; `root`: which of the two only one rank has, and the argument that names it."""

    ins: Tuple[str, ...]
    outs: Tuple[str, ...]
    root: Tuple[str, str] = ("", "")


_SPECS = {
    "all_reduce": _Spec(("tensor",), ("tensor",)),
    "reduce": _Spec(("tensor",), ("tensor",), ("out", "dst")),
    "broadcast": _Spec(("tensor",), ("tensor",), ("in", "src")),
    "all_gather": _Spec(("tensor",), ("tensor_list",)),
    "all_gather_into_tensor": _Spec(("input_tensor",), ("output_tensor",)),
    "reduce_scatter": _Spec(("input_list",), ("output",)),
    "reduce_scatter_tensor": _Spec(("input",), ("output",)),
    "all_to_all": _Spec(("input_tensor_list",), ("output_tensor_list",)),
    "all_to_all_single": _Spec(("input",), ("output",)),
    "gather": _Spec(("tensor",), ("gather_list",), ("out", "dst")),
    "gather_into_tensor": _Spec(("tensor",), ("gather_tensor",), ("out", "dst")),
    "scatter": _Spec(("scatter_list",), ("tensor",), ("in", "src")),
    "all_reduce_coalesced": _Spec(("tensors",), ("tensors",)),
    "all_gather_coalesced": _Spec(("input_tensor_list",), ("output_tensor_lists",)),
}
# Newer names of the same calls: their records keep the older name, so that two versions of torch can be compared.
_ALSO = {
    "all_gather_single": "all_gather_into_tensor",
    "reduce_scatter_single": "reduce_scatter_tensor",
    "gather_single": "gather_into_tensor",
}
_OBJECTS = ("broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list")
PENDING_MAX = 1000


class _Call(NamedTuple):
    site: str
    spec: _Spec
    arguments: Dict[str, Any]
    holds: Dict[str, bool]  # whether this rank has what goes `in` and comes `out`
    evidence: Optional[Dict[str, Any]]


class _Local(threading.local):
    inside = False


class Collectives:
    """Observes the process groups of one process."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("collectives", "collective")
        self.local = _Local()
        self._pending: Dict[int, Tuple[Any, _Call]] = {}  # by id of a Work, which is kept so that its id stays its own

    def begins(self, name: str, signature: inspect.Signature, args: Any, kwargs: Any) -> Optional[_Call]:
        """Records what goes in; returns None if the call is not part of the training."""
        if not self._recorder.takes("collective"):
            return None
        if not self._model.mine():
            self._recorder.unobserved("collective", "calls in other threads", "their order depends on timing")
            return None
        spec = _SPECS[name]
        arguments = signature.bind_partial(*args, **kwargs).arguments
        group = arguments.get("group")
        call = _Call(
            "%s/%s" % (_name_of(group), name),
            spec,
            arguments,
            _holds(spec, arguments, group),
            self._evidence(arguments),
        )
        self._recorder.begin()
        self._record(call, "in", spec.ins)
        return call

    def ends(self, call: _Call, work: Any) -> None:
        """Records what came out, or waits for the Work of an asynchronous call."""
        if work is None or not hasattr(work, "wait"):
            self._record(call, "out", call.spec.outs)
        elif len(self._pending) < PENDING_MAX:
            self._pending[id(work)] = (work, call)
        else:
            self.forget()

    def waited(self, work: Any) -> None:
        """A Work has ended: records its outputs."""
        _, call = self._pending.pop(id(work), (None, None))
        if call is not None and self._recorder.takes("collective"):
            self._record(call, "out", call.spec.outs)

    def forget(self) -> None:
        """A step begins: reports outputs for which nobody called wait()."""
        if self._pending:
            self._pending.clear()
            self._recorder.unobserved(
                "collective", "outputs of asynchronous calls", "nobody called their Work's wait()"
            )

    def _record(self, call: _Call, way: str, names: Tuple[str, ...]) -> None:
        if not call.holds[way]:
            return
        entries: List[Any] = []
        for name in names:
            for path, tensor in tensors(call.arguments.get(name)):
                entries.append(("%s/%s%s" % (call.site, way, path), tensor, call.evidence))
        record_values(self._recorder, self._row, "collective", entries, self._recorder.phase)

    def _evidence(self, arguments: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        if not self._recorder.keeps_evidence:
            return None
        found = dict(self._recorder.caller())
        if "op" in arguments:
            found["op"] = str(arguments["op"]).rpartition(".")[2]
        return found


def _name_of(group: Any) -> str:
    distributed = sys.modules["torch.distributed"]
    if group is None or group is distributed.group.WORLD:
        return "world"
    try:
        return "ranks%s" % ",".join(str(rank) for rank in distributed.get_process_group_ranks(group))
    except (AttributeError, KeyError, RuntimeError, ValueError):  # torch 2.1 lacks this function for some groups
        return "group"


def _holds(spec: _Spec, arguments: Dict[str, Any], group: Any) -> Dict[str, bool]:
    distributed = sys.modules["torch.distributed"]
    way, name = spec.root
    holds = {"in": True, "out": True}
    if way:
        own = arguments.get("group_" + name)
        if own is not None:
            holds[way] = distributed.get_rank(group) == own
        else:
            holds[way] = distributed.get_rank() == (arguments.get(name) or 0)
    return holds


def install(recorder: Recorder) -> None:
    """Wraps the functions wherever torch keeps them, and Work.wait."""
    torch = sys.modules["torch"]
    model = model_of(recorder)
    row = recorder.observer("collectives", "collective")
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available():
        return
    watch = Collectives(model)
    guarded = Guarded(model, row)
    is_compiling = compiled.compiling(torch)
    home = sys.modules["torch.distributed.distributed_c10d"]
    for name in (*_SPECS, *_ALSO, *_OBJECTS):
        original = vars(home).get(name)
        if original is None:
            continue
        wrapped = _wrapped(_ALSO.get(name, name), original, watch, guarded, is_compiling)
        for holder in [module for key, module in list(sys.modules.items()) if key.startswith("torch.distributed")]:
            if getattr(holder, "__dict__", {}).get(name) is original:
                setattr(holder, name, wrapped)
    work = getattr(home, "Work", None)
    if work is not None:
        _watch_wait(work, watch, guarded, is_compiling)

    def look() -> None:
        watch.forget()
        if distributed.is_initialized():
            recorder.unobserved(
                "collective", "DDP's reducer, functional and point-to-point calls", "the probe does not wrap them"
            )

    recorder.at_step_start(look)
    row.installed = True


def _wrapped(
    name: str, original: Callable[..., Any], watch: Collectives, guarded: Guarded, is_compiling: Callable[[], bool]
) -> Any:
    signature = inspect.signature(original) if name in _SPECS else None
    local = watch.local

    @functools.wraps(original)
    def collective(*args: Any, **kwargs: Any) -> Any:
        if is_compiling() or local.inside:
            return original(*args, **kwargs)
        call = guarded(watch.begins, name, signature, args, kwargs) if signature is not None else None
        local.inside = True
        try:
            result = original(*args, **kwargs)
        finally:
            local.inside = False
        if call is not None:
            guarded(watch.ends, call, result)
        return result

    return compiled.hide(collective)


def _watch_wait(work: Any, watch: Collectives, guarded: Guarded, is_compiling: Callable[[], bool]) -> None:
    original = work.wait

    @functools.wraps(original)
    def wait(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not is_compiling():
            guarded(watch.waited, self)
        return result

    work.wait = compiled.hide(wait)
