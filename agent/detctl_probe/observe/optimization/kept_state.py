"""Finds the state that the user's own objects keep from step to step: generators, tensors, schedules, counters and lists.

A checkpoint that leaves one of them out is only wrong after a restart. So the notes of kind `kept-state` show them at the first step of
a process, and again at the step that follows each saved file and each start of a loader; those show only what has changed since the first.
They are taken when the step calls its first module: what depends on its loss has not moved yet. Two runs of which one continues the other
are held against each other by them.

Values are found from the user's modules and frames: variables, and attributes of objects whose class is the user's. Attributes are read
from instance dictionaries, so no code of the user runs.
"""

from __future__ import annotations

import re
import sys
from hashlib import blake2b
from types import FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from detctl_probe.digest.n6 import NoDigestError
from detctl_probe.observe.model.naming import walk
from detctl_probe.observe.model.steps import Model
from detctl_probe.observe.model.tensors import fingerprint_tensor
from detctl_probe.observe.randomness import rng

VALUES_MAX = 240  # of the first note
CHANGED_MAX = 60  # of a later note
NOTES_MAX = 48
OBJECTS_MAX = 4000
TENSORS_MAX = 200
BYTES_MAX = 64 << 20  # of all tensors and arrays of a note
ITEMS_MAX = 64  # of a container whose items are looked at one by one
LIST_MAX = 20_000
DEPTH_MAX = 6
FRAMES_MAX = 24
TEXT_MAX = 24

GLOBAL, GENERATOR, LOADER, SAMPLER = "global", "generator", "loader", "sampler"
TENSOR, MODEL, SCHEDULE, SCALER, NUMBER, LIST = "tensor", "model", "schedule", "scaler", "number", "list"

# Site of a tensor -> its id, its version and its digest: data that nobody writes to are digested once.
Digests = Dict[str, Tuple[int, int, str]]
_ASSIGNED = re.compile(r"(\w+)\s*(?::[^=]*)?=(?!=)")
_OF_MODULES = frozenset(("_parameters", "_buffers", "_modules", "training", "_non_persistent_buffers_set"))
_PLAIN_OBJECTS = frozenset(("SimpleNamespace", "Namespace"))
_OWN_LOCALS = frozenset(("locals", "vars", "dir", "eval", "exec"))
_ITEMS = re.compile(r"\[.*")


class Value(NamedTuple):
    """One value. site: `Dataset.rng`, by the class that holds it, or `main.rng` for a variable; path: how the script reaches it."""

    site: str
    kind: str
    digest: str
    text: str
    path: str
    type: str
    key: int = 0  # id of the object


class KeptState:
    """Notes the kept state once Model.state_due is set: by the start, by a saved file or by the start of a loader."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._recorder = model.recorder
        self._notes = 0
        self._first: Dict[str, str] = {}
        self._digests: Digests = {}

    def note(self) -> None:
        """Notes the state: when the first module of a step is called, or else before the step of the optimizer."""
        self._model.state_due = False
        if self._notes >= NOTES_MAX or self._recorder.role != "main":
            return
        torch = self._model.torch
        with self._recorder.working("update"), torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            self._note(_Search(self._model, self._digests).run())

    def _note(self, found: List[Value]) -> None:
        first = not self._notes
        if first:
            found = found[:VALUES_MAX]
            self._first = {one.site: one.digest for one in found}
        else:
            found = [one for one in found if self._first.get(one.site) not in (None, one.digest)][:CHANGED_MAX]
        self._notes += 1
        places = _Places(self._model) if first else None
        rows = []
        for one in found:
            row = {"site": one.site, "kind": one.kind, "digest": one.digest, "text": one.text}
            if places is not None and one.kind != GLOBAL:
                row.update({"path": one.path, "type": one.type, **places.of(one)})
            rows.append(row)
        step = self._recorder.step
        text = "the state that objects of the script keep, before step %d" % step
        self._recorder.note("kept-state", text, stage="update", first=first, values=rows)


class _Search:
    """One walk over the user's objects."""

    def __init__(self, model: Model, digests: Digests) -> None:
        self._digests = digests
        self._torch = model.torch
        self._callers = model.recorder.callers
        parameters = {
            id(parameter): parameter
            for one in list(model.made)
            for group in getattr(one, "param_groups", ())
            for parameter in group["params"]
        }
        self._trained: Set[int] = set(parameters)
        self._shapes = sorted(tuple(parameter.shape) for parameter in parameters.values())
        # What optimizers hold is recorded before their step.
        self._seen: Set[int] = {
            id(group) for one in list(model.made) for group in (*one.param_groups, one.param_groups, one.state)
        }
        self._sites: Dict[str, int] = {}
        self._of_loaders: Set[int] = set()
        self._bytes = 0
        self._tensors = 0
        self._user: Dict[type, bool] = {}
        self._schedulers = _scheduler_kinds(self._torch)
        self._scalers = _scaler_kinds(self._torch)
        self._loaders: Any = getattr(sys.modules.get("torch.utils.data"), "DataLoader", ())
        numpy: Any = sys.modules.get("numpy")
        random: Any = sys.modules.get("numpy.random")
        self._array = getattr(numpy, "ndarray", ())
        self._numpy: Tuple[Any, ...] = () if random is None else (random.Generator, random.RandomState)
        self._python: Any = getattr(sys.modules.get("random"), "Random", ())
        self._system: Any = getattr(sys.modules.get("random"), "SystemRandom", ())

    def run(self) -> List[Value]:
        """Every value. A generator that a loader uses is the loader's, by whatever name the script reaches it first."""
        found = list(self.values())
        return [
            one._replace(kind=LOADER) if one.kind == GENERATOR and one.key in self._of_loaders else one for one in found
        ]

    def values(self) -> Iterator[Value]:
        """Every value, from the outermost frame inwards, so that two processes find them in the same order."""
        for site, state in rng.states():
            yield Value(site, GLOBAL, state.digest.hex()[:16], "", "", "")
        frames = self._frames()
        main: Any = sys.modules.get("__main__")
        yield from self._names(getattr(main, "__dict__", {}), "")
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", {})  # an attribute of a lazy module would import it
            file = names.get("__file__")
            if module is not main and isinstance(file, str) and self._callers.kind(file) == "user":
                owner = str(names.get("__name__")).rpartition(".")[2]
                yield from self._names(names, owner, owner + ".")
        for frame in frames:
            if frame.f_code.co_name != "<module>":
                yield from self._names(_variables_of(frame), frame.f_code.co_name)

    def _frames(self) -> List[FrameType]:
        found: List[FrameType] = []
        frame: Optional[FrameType] = sys._getframe(2)
        while frame is not None and len(found) < FRAMES_MAX:
            if self._callers.kind(frame.f_code.co_filename) == "user":
                found.append(frame)
            frame = frame.f_back
        return found[::-1]

    def _names(self, names: Dict[str, Any], owner: str, path: str = "") -> Iterator[Value]:
        for name, value in list(names.items()):
            if not name.startswith("__"):
                site = "%s.%s" % (owner, name) if owner else name
                yield from self._value(site, path + name, value, 0, "")

    def _value(self, site: str, path: str, value: Any, depth: int, within: str) -> Iterator[Value]:
        kind = type(value)
        if kind in (bool, int, float):
            yield self._found(site, SAMPLER if within == SAMPLER else NUMBER, repr(value), repr(value), path, value)
            return
        # By the type itself: `__class__` of a proxy is the user's code.
        if value is None or kind in (str, bytes, complex) or issubclass(kind, (type, ModuleType, FunctionType)):
            return
        if depth > DEPTH_MAX or id(value) in self._seen or len(self._seen) > OBJECTS_MAX:
            return
        self._seen.add(id(value))
        torch = self._torch
        if issubclass(kind, (torch.Generator, *self._numpy)) or (
            issubclass(kind, self._python) and not issubclass(kind, self._system)
        ):
            state = None if value is torch.default_generator else _state_of_generator(value, torch)
            if state is not None:
                yield self._found(site, LOADER if within in (LOADER, SAMPLER) else GENERATOR, state, "", path, value)
        elif kind in (torch.Tensor, torch.nn.Parameter):
            if id(value) not in self._trained:
                yield from self._tensor(site, MODEL if within == MODEL else TENSOR, path, value)
        elif issubclass(kind, self._array):
            yield from self._numbers(site, path, value)
        elif issubclass(kind, self._schedulers):
            yield from self._plain(kind.__name__, SCHEDULE, path, value)
        elif issubclass(kind, self._scalers):
            yield from self._scaler(kind.__name__, path, value)
        elif issubclass(kind, torch.optim.Optimizer):
            return
        elif issubclass(kind, torch.nn.Module):
            yield from self._module(site, path, value, depth)
        elif issubclass(kind, self._loaders):
            yield from self._loader(path, value, depth)
        elif issubclass(kind, dict):
            if len(value) <= ITEMS_MAX * 4:
                inner = MODEL if self._is_average(value.values()) else within
                for key, item in list(value.items()):
                    if isinstance(key, (str, int)):
                        yield from self._value("%s[%s]" % (site, key), "%s[%r]" % (path, key), item, depth + 1, inner)
        elif kind is GeneratorType:  # such as an endless one over batches, with variables of its own
            frame = value.gi_frame
            if frame is not None and self._callers.kind(frame.f_code.co_filename) == "user":
                yield from self._names(_variables_of(frame), frame.f_code.co_name)
        elif kind.__name__ in ("list", "tuple", "deque"):
            yield from self._sequence(site, path, value, depth, within)
        else:
            yield from self._object(site, path, value, depth, within)

    def _object(self, site: str, path: str, value: Any, depth: int, within: str) -> Iterator[Value]:
        attributes = getattr(value, "__dict__", None)
        if not isinstance(attributes, dict):
            return
        kind = type(value)
        if self._is_user(kind) or within == SAMPLER:
            for name, item in list(attributes.items()):
                yield from self._value(
                    "%s.%s" % (kind.__qualname__, name), "%s.%s" % (path, name), item, depth + 1, within
                )
        elif kind.__module__.partition(".")[0] not in ("torch", "numpy") or kind.__module__.startswith(
            "torch.utils.data"
        ):
            # A trainer of a framework holds callbacks of the user, a subset of torch the dataset.
            for name, item in list(attributes.items()):
                if self._holds_average(item):
                    yield from self._value(
                        "%s.%s" % (kind.__qualname__, name), "%s.%s" % (path, name), item, depth + 1, ""
                    )
                    continue
                for at, inner in enumerate(item if type(item) in (list, tuple) and len(item) <= ITEMS_MAX else (item,)):
                    if self._is_user(type(inner)) or type(inner) is self._torch.Generator:
                        where = "%s.%s" % (path, name) if inner is item else "%s.%s[%d]" % (path, name, at)
                        yield from self._value("%s.%s" % (kind.__qualname__, name), where, inner, depth + 1, within)

    def _loader(self, path: str, loader: Any, depth: int) -> Iterator[Value]:
        held = loader.__dict__
        sampler = held.get("sampler")
        self._of_loaders |= {id(held.get("generator")), id(getattr(sampler, "__dict__", {}).get("generator"))} - {
            id(None)
        }
        batches = held.get("batch_sampler")
        for name, item, within in (
            ("generator", held.get("generator"), LOADER),
            ("dataset", held.get("dataset"), ""),  # a sampler may hold it too
            ("sampler", sampler, SAMPLER),
            ("batch_sampler", None if type(batches).__name__ == "BatchSampler" else batches, SAMPLER),
        ):
            if item is not None:
                yield from self._value(
                    "%s.%s" % (type(loader).__name__, name), "%s.%s" % (path, name), item, depth + 1, within
                )

    def _module(self, site: str, path: str, module: Any, depth: int) -> Iterator[Value]:
        """What a module keeps beside its weights; of one that no optimizer trains, its weights too, as of an average."""
        parts = [(one, name.lstrip("/")) for one, name, _ in walk(module, "")]
        tensors = [
            ("%s.%s" % (name, key) if name else key, tensor)
            for one, name in parts
            for table in (one._parameters, one._buffers)
            for key, tensor in table.items()
            if tensor is not None
        ]
        if tensors and not any(id(tensor) in self._trained for _, tensor in tensors):
            for name, tensor in tensors:
                if type(tensor) in (self._torch.Tensor, self._torch.nn.Parameter):
                    yield from self._tensor("%s[%s]" % (site, name), MODEL, path, tensor)
        for one, name in parts:
            self._seen.add(id(one))
            if self._is_user(type(one)):
                inner = "%s.%s" % (path, name) if name else path
                owner = type(one).__qualname__
                for key, item in list(one.__dict__.items()):
                    if key not in _OF_MODULES:
                        yield from self._value("%s.%s" % (owner, key), "%s.%s" % (inner, key), item, depth + 1, "")

    def _sequence(self, site: str, path: str, value: Any, depth: int, within: str) -> Iterator[Value]:
        if len(value) <= ITEMS_MAX and not all(_is_plain(item) for item in value):
            within = MODEL if self._is_average(value) else within
            for number, item in enumerate(list(value)):
                at = "[%d]" % number
                yield from self._value(site + at, path + at, item, depth + 1, within)
        elif len(value) <= LIST_MAX and all(_is_plain(item) for item in value):
            digest = _digest(repr(list(value)).encode("utf-8", "surrogateescape"))
            kind = SAMPLER if within == SAMPLER else LIST
            yield self._found(
                site, kind, digest, "%d item%s" % (len(value), "" if len(value) == 1 else "s"), path, value
            )

    def _holds_average(self, item: Any) -> bool:
        if type(item) in (list, tuple):
            return self._is_average(item)
        return type(item) is dict and self._is_average(item.values())

    def _is_average(self, values: Any) -> bool:
        """Whether a container holds a tensor for each trained parameter, in other tensors, as a moving average of them does."""
        found = [one for one in values if type(one) in (self._torch.Tensor, self._torch.nn.Parameter)]
        if not found or any(id(one) in self._trained for one in found):
            return False
        shapes = sorted(tuple(one.shape) for one in found if one.is_floating_point())
        return bool(self._shapes) and len(shapes) >= len(self._shapes) and set(shapes) >= set(self._shapes)

    def _plain(self, owner: str, kind: str, path: str, value: Any) -> Iterator[Value]:
        for name, item in list(value.__dict__.items()):
            if type(item) in (bool, int, float) and name not in (
                "_get_lr_called_within_step",
                "_is_initial",
                "verbose",
            ):
                yield self._found("%s.%s" % (owner, name), kind, repr(item), repr(item), "%s.%s" % (path, name), value)

    def _scaler(self, owner: str, path: str, value: Any) -> Iterator[Value]:
        for name in ("_scale", "_growth_tracker"):
            tensor = value.__dict__.get(name)
            if tensor is not None and tensor.device.type == "cpu":  # another would have to be waited for
                text = repr(tensor.item())
                yield self._found("%s.%s" % (owner, name), SCALER, text, text, "%s.%s" % (path, name), value)

    def _tensor(self, site: str, kind: str, path: str, tensor: Any) -> Iterator[Value]:
        size = tensor.numel() * tensor.element_size()
        if tensor.device.type != "cpu" or tensor.is_sparse or tensor.grad_fn is not None:
            return  # a device would have to be waited for; what has a history belongs to this step
        if self._tensors >= TENSORS_MAX or self._bytes + size > BYTES_MAX:
            return
        self._tensors += 1
        known = self._digests.get(site)
        if known is None or known[:2] != (id(tensor), tensor._version):
            self._bytes += size
            try:
                digest = fingerprint_tensor(tensor.detach(), wait=True).digest.hex()[:16]
            except NoDigestError:
                return
            known = self._digests[site] = (id(tensor), tensor._version, digest)
        yield self._found(site, kind, known[2], str(tuple(tensor.shape)), path, tensor)

    def _numbers(self, site: str, path: str, array: Any) -> Iterator[Value]:
        if array.dtype.hasobject or self._bytes + array.nbytes > BYTES_MAX:
            return
        self._bytes += array.nbytes
        yield self._found(site, TENSOR, _digest(array.tobytes()), str(array.shape), path, array)

    def _found(self, site: str, kind: str, digest: str, text: str, path: str, value: Any) -> Value:
        count = self._sites[site] = self._sites.get(site, 0) + 1
        name = site if count == 1 else "%s#%d" % (site, count)
        owner = type(value)
        kept = "%s.%s" % (owner.__module__.partition(".")[0], owner.__name__)  # numpy.Generator, torch.Generator
        return Value(name[:120], kind, digest[:40], text[:TEXT_MAX], path[:120], kept, id(value))

    def _is_user(self, kind: type) -> bool:
        known = self._user.get(kind)
        if known is None:
            file = getattr(sys.modules.get(kind.__module__), "__file__", None)
            known = (
                kind.__module__ == "__main__"
                or kind.__name__ in _PLAIN_OBJECTS
                or (isinstance(file, str) and self._callers.kind(file) == "user")
            )
            self._user[kind] = known
        return known


class _Places:
    """The lines of the user's code that make the values, found by name."""

    def __init__(self, model: Model) -> None:
        self._recorder = model.recorder
        self._lines: Dict[str, Tuple[str, int]] = {}
        frame: Optional[FrameType] = sys._getframe(1)
        files = [getattr(sys.modules.get("__main__"), "__file__", None)]
        while frame is not None:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back
        files += [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        linecache: Any = sys.modules["linecache"]
        for file in dict.fromkeys(one for one in files if isinstance(one, str) and one.endswith(".py")):
            if self._recorder.callers.kind(file) == "user":
                for number, line in enumerate(linecache.getlines(file), 1):
                    for name in _ASSIGNED.findall(line.split("#", 1)[0]):
                        self._lines.setdefault(name, (file, number))

    def of(self, value: Value) -> Dict[str, Any]:
        """{"file", "line"} of the first line that assigns to the last name of a path; empty if none does."""
        name = _ITEMS.sub("", value.site.partition("#")[0]).rpartition(".")[2]
        found = self._lines.get(name)
        return {"file": self._recorder.logical(found[0]), "line": found[1]} if found is not None else {}


def _variables_of(frame: FrameType) -> Dict[str, Any]:
    """A copy of a function's variables. Before Python 3.13 reading them fills the dictionary that locals() returns there: a function that
    names it is left out, and the dictionary is emptied again, so that it keeps no tensor alive."""
    if _OWN_LOCALS.intersection(frame.f_code.co_names):
        return {}
    held = frame.f_locals
    found = dict(held)
    if type(held) is dict:
        held.clear()
    return found


def _scheduler_kinds(torch: Any) -> Tuple[Any, ...]:
    kinds = torch.optim.lr_scheduler
    base = getattr(kinds, "LRScheduler", None) or kinds._LRScheduler
    return (base, kinds.ReduceLROnPlateau)


def _scaler_kinds(torch: Any) -> Tuple[Any, ...]:
    holders = (getattr(torch, "amp", None), getattr(getattr(torch, "cuda", None), "amp", None))
    return tuple(kind for kind in (getattr(holder, "GradScaler", None) for holder in holders) if kind is not None)


def _state_of_generator(value: Any, torch: Any) -> Optional[str]:
    """A digest of a generator's state; None if it is on a device. Nothing is drawn."""
    if issubclass(type(value), torch.Generator):
        if value.device.type != "cpu":
            return None
        return fingerprint_tensor(value.get_state(), wait=True).digest.hex()[:16]
    if hasattr(value, "bit_generator"):
        return _digest(_text_of(value.bit_generator.state).encode())
    if hasattr(value, "get_state"):
        return _digest(_text_of(value.get_state(legacy=False)).encode())
    return _digest(repr(value.getstate()).encode())


def _text_of(state: Any) -> str:
    """The whole content of a state of numpy, whose arrays repr() would cut."""
    if isinstance(state, dict):
        return repr([(key, _text_of(item)) for key, item in sorted(state.items())])
    return repr(state.tolist()) if hasattr(state, "tolist") else repr(state)


def _is_plain(item: Any) -> bool:
    if type(item) in (bool, int, float, str, type(None)):
        return True
    return type(item) in (tuple, list) and len(item) <= 16 and all(_is_plain(inner) for inner in item)


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()
