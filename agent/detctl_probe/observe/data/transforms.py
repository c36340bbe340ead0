"""Stage sample: what each torchvision transform (v1 and v2) returned, at sites such as `transform/0.Resize`.

The number is the position in a Compose; a nested one reads `transform/2.Compose/0.Resize`; a transform that is called alone
has no number. Inside a DataLoader's fetch the outputs are gathered as rows of one record a batch (in the order of the calls, so
a transform that is called once a sample has one row a sample); outside, each call is a record of its own.

Most transforms are nn.Modules, so global module hooks see them. `inside_data()` is True on a thread that is inside a transform or a
fetch: what happens there belongs to the data, and observers of modules step aside.
"""

from __future__ import annotations

import functools
import sys
import threading
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Set

from detctl_probe.digest.values import NoDigestError, fingerprint, is_opaque, leaves
from detctl_probe.observe.data.batches import Fetch, current_fetch, inside_fetch
from detctl_probe.observe.data.loader_generators import drawn, snapshot
from detctl_probe.process.imports import when_imported
from detctl_probe.process.signals import from_signal
from detctl_probe.recording.recorder import LAUNCHER, WORKER, Recorder, recorder

# The first calls show whether a transform draws; reading the generators costs 20 µs for each call.
DRAW_CALLS_MAX = 8

_local = threading.local()
_calls: Dict[str, int] = {}
_draws: Dict[str, Set[str]] = {}


def inside_data() -> bool:
    """Whether this thread is inside a torchvision transform or a DataLoader's fetch."""
    return getattr(_local, "depth", 0) > 0 or inside_fetch()


def install(owner: Recorder) -> None:
    """Patches the transforms of torchvision: v1 now (it has been imported), v2 when it is imported."""
    for name in ("torchvision.transforms.transforms", "torchvision.transforms.autoaugment"):
        module = sys.modules.get(name)
        if module is not None:
            _patch_v1(module)
    when_imported("torchvision.transforms.v2", _patch_v2)


def _patch_v1(module: ModuleType) -> None:
    compose = getattr(module, "Compose", None)
    base = sys.modules["torch"].nn.Module
    for kind in list(vars(module).values()):
        if not isinstance(kind, type) or kind.__module__ != module.__name__:
            continue
        if kind is compose:
            kind.__call__ = _container(kind.__call__)  # type: ignore[operator]
        elif "__call__" in vars(kind) or (issubclass(kind, base) and not _patched(kind.__call__)):
            kind.__call__ = _alone(kind.__call__)  # type: ignore[method-assign]


def _patch_v2(module: ModuleType) -> None:
    module.Transform.__call__ = _alone(module.Transform.__call__, module.Compose)
    module.Compose.forward = _container(module.Compose.forward)


def _patched(call: Any) -> bool:
    return getattr(call, "_detctl", False) is True


def _container(original: Callable[..., Any]) -> Callable[..., Any]:
    """Runs torchvision's own loop of a Compose over observed transforms, on a stand-in for the Compose."""

    @functools.wraps(original)
    def call(self: Any, *inputs: Any, **named: Any) -> Any:
        if not _watching():
            return original(self, *inputs, **named)
        return original(_StandIn(self), *inputs, **named)

    call._detctl = True  # type: ignore[attr-defined]
    return call


class _StandIn:
    """Stands for a Compose and holds observed transforms; everything else is the real one's."""

    def __init__(self, compose: Any) -> None:
        self._compose = compose
        self.transforms = [_Step(transform, at) for at, transform in enumerate(compose.transforms)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compose, name)


class _Step:
    """A transform at its place in a Compose."""

    def __init__(self, transform: Any, at: int) -> None:
        self._transform = transform
        self._at = at

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        _local.announced = self._transform
        return _run("%d.%s" % (self._at, _name(self._transform)), self._transform, self._transform, inputs, named)


def _alone(original: Callable[..., Any], compose: Optional[type] = None) -> Callable[..., Any]:
    """The __call__ of one transform class, unless a Compose has announced the call."""

    @functools.wraps(original)
    def __call__(self: Any, *inputs: Any, **named: Any) -> Any:
        if not _watching():
            return original(self, *inputs, **named)
        if getattr(_local, "announced", None) is self:
            _local.announced = None
            return original(self, *inputs, **named)
        if compose is not None and isinstance(self, compose):  # its transforms are recorded instead
            return _deeper(functools.partial(original, self), inputs, named)
        return _run(_name(self), self, functools.partial(original, self), inputs, named)

    __call__._detctl = True  # type: ignore[attr-defined]
    return __call__


def _deeper(call: Callable[..., Any], inputs: Any, named: Any) -> Any:
    _local.depth = getattr(_local, "depth", 0) + 1
    try:
        return call(*inputs, **named)
    finally:
        _local.depth -= 1


def _run(name: str, transform: Any, call: Callable[..., Any], inputs: Any, named: Any) -> Any:
    scope: List[str] = getattr(_local, "scope", None) or ["transform"]
    _local.scope = scope
    scope.append(name)
    site = "/".join(scope)
    before = _before(transform)
    try:
        value = _deeper(call, inputs, named)
    finally:
        scope.pop()
        _local.announced = None
    _look(site, transform, value, before)
    return value


def _look(site: str, transform: Any, value: Any, before: Optional[Dict[str, bytes]]) -> None:
    owner = recorder()
    fetch = current_fetch()
    try:
        if owner is None:
            if fetch is not None:
                fetch.transformed(site, value)
            return
        with owner.working("sample"):
            if before is not None:
                _note_draws(owner, fetch, site, transform, before)
            if fetch is not None:
                fetch.transformed(site, value)
            else:
                _record(owner, site, value)
    except Exception as error:
        if from_signal(error):
            raise
        if owner is not None:
            owner.unobserved("sample", site, "%s: %s" % (type(error).__name__, error))


def _record(owner: Recorder, site: str, value: Any) -> None:
    """Records a transform outside of a fetch: one record for each call and leaf, counted within the step."""
    for path, leaf in leaves(value):
        name = "%s/%s" % (site, path) if path else site
        try:
            found = fingerprint(leaf)
        except NoDigestError as error:
            owner.unobserved("sample", name, str(error))
            continue
        if is_opaque(found):
            owner.unobserved("sample", name, "only its type is known")
        owner.record("sample", name, found)
    row = owner.observers.get("transforms")
    if row is not None:
        row.fired += 1


def _before(transform: Any) -> Optional[Dict[str, bytes]]:
    if type(transform).__name__ == "Compose":  # the transforms that it holds are noted on their own
        return None
    kind = _class_name(transform)
    calls = _calls[kind] = _calls.get(kind, 0) + 1
    return snapshot() if calls <= DRAW_CALLS_MAX else None


def _note_draws(owner: Recorder, fetch: Optional[Fetch], site: str, transform: Any, before: Dict[str, bytes]) -> None:
    kind = _class_name(transform)
    known = _draws.setdefault(kind, set())
    new = [name for name in drawn(before, snapshot()) if name not in known]
    if not new:
        return
    known.update(new)
    text = "%s draws from %s" % (_name(transform), ", ".join(sorted(known)))
    fields: Dict[str, Any] = {"stage": "sample", "site": site, "generators": sorted(known)}
    code = getattr(transform, "__code__", None) or getattr(vars(type(transform)).get("__call__"), "__code__", None)
    if code is not None and owner.callers.kind(code.co_filename) == "user":
        fields.update(file=owner.logical(code.co_filename), line=code.co_firstlineno)
    if fetch is not None:
        fetch.notes.append(("random-transform", text, fields))
    else:
        owner.note("random-transform", text, **fields)


def _watching() -> bool:
    torch = sys.modules["torch"]
    if torch.compiler.is_compiling():
        return False
    if current_fetch() is not None:
        return True
    owner = recorder()
    return (
        owner is not None
        and owner.recording
        and not owner.busy
        and not inside_fetch()
        and owner.role not in (WORKER, LAUNCHER)
    )


def _name(transform: Any) -> str:
    name = getattr(transform, "__name__", None)
    if not isinstance(name, str):
        name = type(transform).__name__
    return name.replace("<lambda>", "lambda").replace("/", "_")


def _class_name(transform: Any) -> str:
    kind = transform if isinstance(getattr(transform, "__qualname__", None), str) else type(transform)
    return "%s.%s" % (kind.__module__, kind.__qualname__)
