"""Remembers where the user's code made optimizers, schedulers and gradient scalers, and where it restored them and the models.

Each restoring is noted at once with file and line; the first step of an optimizer reports the rest (before_step.py).
"""

from __future__ import annotations

import functools
import re
import sys
from types import FrameType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple
from weakref import WeakKeyDictionary, WeakSet

from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.steps import Guarded, Model
from detctl_probe.observe.optimization import unordered
from detctl_probe.observe.optimization.group_settings import Values, values_of

_EMA = re.compile(r"(^|[_a-z])(EMA|Ema)(?![a-z])|^AveragedModel$|ExponentialMovingAverage")
_PLAIN = (bool, int, float, str)
SETTINGS_MAX = 24
USER_FRAMES_MAX = 12
GROUPS_EXAMINED_MAX = 4

Place = Mapping[str, Any]


class GroupMade:
    """A parameter group as it was added: its settings, the place (at: file and line), and what ordered its parameters."""

    __slots__ = ("at", "ordered_by", "place", "values")

    def __init__(
        self, values: Values, place: Place, ordered_by: List[Dict[str, Any]], at: Optional[Tuple[str, int]]
    ) -> None:
        self.at = at
        self.values = values
        self.place = place
        self.ordered_by = ordered_by


class Scheduled:
    """What is known of one scheduler. stepped: the place of its last step; steps: how often it stepped since it was made; loads: how often
    its optimizer had been restored before it was made."""

    __slots__ = ("kind", "loads", "place", "settings", "stepped", "steps")

    def __init__(self, scheduler: Any, place: Place, loads: int) -> None:
        self.loads = loads
        self.kind = type(scheduler).__name__
        self.place = place
        self.settings = plain_settings(scheduler)
        self.stepped: Optional[Place] = None
        self.steps = 0


class Origins:
    """The places of one process. Nothing is kept alive."""

    def __init__(self, model: Model, guarded: Guarded) -> None:
        self._model = model
        self._recorder = model.recorder
        self._guarded = guarded
        self._made: Any = WeakKeyDictionary()  # optimizer -> [GroupMade]
        self._loads: Any = WeakKeyDictionary()  # what was restored -> [place]
        self._loaded: Any = WeakKeyDictionary()  # optimizer -> its settings after it was restored
        self._schedulers: Any = WeakKeyDictionary()  # optimizer -> [Scheduled]
        self._by_scheduler: Any = WeakKeyDictionary()
        self._scalers: Any = WeakKeyDictionary()  # scaler -> place
        self._reported: Any = WeakSet()

    # -- what happened ------------------------------------------------------------------------------------------------
    def group_added(self, optimizer: Any) -> None:
        """The last group of an optimizer was added."""
        if not getattr(optimizer, "param_groups", None):
            return
        group = optimizer.param_groups[-1]
        frames = self._user_frames()
        ordered_by: List[Dict[str, Any]] = []
        if (
            len(optimizer.param_groups) <= GROUPS_EXAMINED_MAX
        ):  # a group for each layer: the first show what ordered them
            parameters = [one for row in optimizer.param_groups for one in row["params"]]
            ordered_by = unordered.find(frames, parameters, self._model.torch) if len(parameters) > 1 else []
        for one in ordered_by:
            frame = one.pop("frame")
            one["file"] = self._recorder.logical(one.pop("source"))
            one["function"] = frame.f_code.co_name
        made: List[GroupMade] = self._made.setdefault(optimizer, [])
        at = (frames[0].f_code.co_filename, frames[0].f_lineno) if frames else None
        made.append(GroupMade(values_of([group]), self._describe(frames), ordered_by, at))

    def scheduler_made(self, scheduler: Any) -> None:
        """A scheduler of torch was made."""
        optimizer = getattr(scheduler, "optimizer", None)
        if optimizer is None or scheduler in self._by_scheduler:
            return
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's and Lightning's only delegate
        one = Scheduled(scheduler, self._describe(self._user_frames()), len(self.loads(optimizer)))
        self._by_scheduler[scheduler] = one
        self._schedulers.setdefault(optimizer, []).append(one)

    def scheduler_stepped(self, scheduler: Any) -> None:
        """A scheduler has stepped."""
        one = self._by_scheduler.get(scheduler)
        if one is not None:
            one.steps += 1
            frame = self._recorder.callers.user_frame(2)
            if one.stepped is None or frame is None or one.stepped.get("line") != frame.f_lineno:
                one.stepped = self._recorder.callers.describe(frame)

    def scaler_made(self, scaler: Any) -> None:
        """A GradScaler was made."""
        self._scalers[scaler] = self._describe(self._user_frames())

    def restored(self, what: str, restored: Any) -> None:
        """load_state_dict was called: notes it with its place."""
        place = self._describe(self._user_frames())
        if what == "model" and is_average(restored):
            what = "ema"
        try:
            self._loads.setdefault(restored, []).append(place)
            if what == "optimizer":
                self._loaded[restored] = values_of(restored.param_groups)
        except TypeError:  # neither hashable nor weakly referenced
            pass
        kind = type(restored).__name__
        text = "load_state_dict of a %s (%s)" % (what, kind)
        self._recorder.note("restored", text, what=what, **{"class": kind}, **place)

    # -- what is known ------------------------------------------------------------------------------------------------
    def groups(self, optimizer: Any) -> List[GroupMade]:
        """The groups of an optimizer in the order in which they were added."""
        found: List[GroupMade] = self._made.get(optimizer, [])
        return found

    def loads(self, restored: Any) -> List[Place]:
        """The places that restored an object, oldest first."""
        found: List[Place] = self._loads.get(restored, [])
        return found

    def loaded(self, optimizer: Any) -> Values:
        """The settings of an optimizer just after it was restored last."""
        found: Values = self._loaded.get(optimizer, ())
        return found

    def schedulers(self, optimizer: Any) -> List[Scheduled]:
        """The schedulers of an optimizer."""
        found: List[Scheduled] = self._schedulers.get(optimizer, [])
        return found

    def report(self, optimizer: Any, name: str) -> None:
        """Notes the schedulers of an optimizer and the scalers of the process, each once."""
        for number, (scheduler, one) in enumerate(list(self._by_scheduler.items())):
            if one in self.schedulers(optimizer) and scheduler not in self._reported:
                self._reported.add(scheduler)
                text = "%s of %s" % (one.kind, name)
                self._note("scheduler", text, scheduler, one.place, one.settings, number=number, optimizer=name)
        for scaler, place in list(self._scalers.items()):
            if scaler not in self._reported and _is_enabled(scaler):
                self._reported.add(scaler)
                self._note("scaler", "a %s" % type(scaler).__name__, scaler, place, plain_settings(scaler))

    def _note(self, kind: str, text: str, known: Any, place: Place, settings: Mapping[str, Any], **more: Any) -> None:
        loads = self.loads(known)
        extra = {"class": type(known).__name__, "settings": settings, "restored": loads[-1] if loads else None}
        self._recorder.note(kind, text, **{**more, **extra, **place})

    def user_files(self) -> List[str]:
        """The source files of the user's modules that are loaded."""
        found = []
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py") and self._recorder.callers.kind(file) == "user":
                found.append(file)
        return list(dict.fromkeys(found))

    def _user_frames(self) -> List[FrameType]:
        found: List[FrameType] = []
        frame: Optional[FrameType] = sys._getframe(2)
        while frame is not None and len(found) < USER_FRAMES_MAX:
            if self._recorder.callers.kind(frame.f_code.co_filename) == "user":
                found.append(frame)
            frame = frame.f_back
        return found

    def _describe(self, frames: List[FrameType]) -> Place:
        return self._recorder.callers.describe(frames[0] if frames else None)

    # -- wrapping -----------------------------------------------------------------------------------------------------
    def after(self, owner: Any, name: str, then: Callable[..., Any], *fixed: Any) -> None:
        """Wraps owner.name so that then(*fixed, self) follows each call; a method that is wrapped already stays as it is."""
        original = owner.__dict__.get(name)
        if original is None or hasattr(original, "_detctl_origin") or not callable(original):
            return
        guarded = self._guarded

        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            guarded(then, *fixed, self)
            return result

        method._detctl_origin = True  # type: ignore[attr-defined]
        setattr(owner, name, compiled.hide(method))


def install(origins: Origins, torch: Any) -> None:
    """Wraps what makes and restores optimizers, schedulers, scalers and models."""
    origins.after(torch.optim.Optimizer, "add_param_group", origins.group_added)
    origins.after(torch.optim.Optimizer, "load_state_dict", origins.restored, "optimizer")
    origins.after(torch.nn.Module, "load_state_dict", origins.restored, "model")
    schedulers = torch.optim.lr_scheduler
    base = getattr(schedulers, "LRScheduler", None) or schedulers._LRScheduler

    def made(scheduler: Any) -> None:
        if getattr(scheduler, "optimizer", None) is None:
            return
        for name, then, fixed in (
            ("step", origins.scheduler_stepped, ()),
            ("load_state_dict", origins.restored, ("scheduler",)),
        ):
            owner = next((one for one in type(scheduler).__mro__ if name in one.__dict__), None)
            if owner is not None:
                origins.after(owner, name, then, *fixed)
        origins.scheduler_made(scheduler)

    origins.after(base, "__init__", made)
    origins.after(schedulers.ReduceLROnPlateau, "__init__", made)


def install_scaler(origins: Origins, kind: Any) -> None:
    """Wraps what makes and restores a class of GradScaler."""
    origins.after(kind, "__init__", origins.scaler_made)
    origins.after(kind, "load_state_dict", origins.restored, "scaler")


def is_average(module: Any) -> bool:
    """Whether a module is an average of weights, by the name of its class or of a class above it."""
    return any(_EMA.search(kind.__name__) for kind in type(module).__mro__)


def plain_settings(known: Any) -> Dict[str, Any]:
    """The plain attributes of a scheduler or a scaler, and those in the functions that it calls (`lr_lambdas[0].warmup`)."""
    found: Dict[str, Any] = {}
    for key, value in vars(known).items():
        name = key.lstrip("_")
        if name in _COUNTERS:
            continue
        if isinstance(value, _PLAIN):
            found[name] = value
        elif isinstance(value, (list, tuple)) and value and len(value) <= 8:
            if all(isinstance(item, _PLAIN) for item in value):
                found[name] = list(value)
            for place, item in enumerate(value):
                found.update(("%s[%d].%s" % (name, place, inner), x) for inner, x in _bound(item).items())
        elif callable(value) and not isinstance(value, type):
            found.update(("%s.%s" % (name, inner), x) for inner, x in _bound(value).items())
        if len(found) >= SETTINGS_MAX:
            break
    return found


# What moves as a scheduler steps, or has nothing to do with its schedule.
_COUNTERS = frozenset(("last_epoch", "step_count", "last_lr", "get_lr_called_within_step", "is_initial", "verbose"))


def _bound(function: Any) -> Dict[str, Any]:
    """The plain values that a function was made with: of functools.partial, and of the variables around it."""
    found: Dict[str, Any] = {}
    if isinstance(function, functools.partial):
        found.update({key: value for key, value in function.keywords.items() if isinstance(value, _PLAIN)})
        return found
    code = getattr(function, "__code__", None)
    if code is None:
        return found
    for name, cell in zip(code.co_freevars, getattr(function, "__closure__", None) or ()):  # noqa: B905 - strict came with 3.10
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        if isinstance(value, _PLAIN):
            found[name] = value
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, (bool, int, float)):
            found[name] = value
    return found


def _is_enabled(scaler: Any) -> bool:
    try:
        return bool(scaler.is_enabled())
    except Exception:  # a subclass of the user's
        return False
