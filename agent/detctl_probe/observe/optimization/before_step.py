"""Records an optimizer before it steps: the settings of its groups in each step, its state at first and when restored.

Sites of stage update are `optimizer1/settings` and `optimizer1/state/<parameter>.<key>`; optimizers are numbered by their first step.
These records decide nothing alone, because what they show has not acted yet: they explain the update of their step. No state is made, and
none is waited for. Level `step` folds a stage to one record, so it has none of them.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple
from weakref import WeakKeyDictionary

from detctl_probe.digest.fingerprint import Fingerprint
from detctl_probe.observe.model.steps import Model
from detctl_probe.observe.model.tensors import Entry, record_values, tensors
from detctl_probe.observe.optimization import group_settings, source
from detctl_probe.observe.optimization.origins import GroupMade, Origins, Scheduled

NAMES_MAX = 256
_PLAIN = (bool, int, float)


class _Known:
    """What is known of one optimizer. since: the step whose record holds the settings; whole: the one that holds the names of the
    parameters too; -1: not recorded yet."""

    def __init__(self, number: int) -> None:
        self.name = "optimizer%d" % number
        self.values: group_settings.Values = ()
        self.fingerprint = Fingerprint(b"", "")
        self.writers = group_settings.Writers()
        self.loads = 0
        self.steps: Dict[int, int] = {}  # scheduler -> its steps when the settings were looked at last
        self.since = self.whole = -1
        self.awaits = True  # its state is to be recorded with the next step that is recorded


class BeforeStep:
    """Records each optimizer before its step."""

    def __init__(self, model: Model, origins: Origins) -> None:
        self._model = model
        self._recorder = model.recorder
        self._row = model.recorder.observer("before-step", "update")
        self._row.installed = True
        self._origins = origins
        self._known: Any = WeakKeyDictionary()
        self._count = 0
        self._assigned: Dict[str, Any] = {}  # setting -> what _assignment found; the source is read once

    def record(self, optimizer: Any) -> None:
        """Records the settings, and the state if it is new; called before each step."""
        recorder = self._recorder
        if recorder.settings.level == "step" or recorder.sealed:
            return
        known: Optional[_Known] = self._known.get(optimizer)
        first = known is None
        if known is None:
            self._count += 1
            known = self._known[optimizer] = _Known(self._count)
        values = group_settings.values_of(optimizer.param_groups)
        loads = self._origins.loads(optimizer)
        if first or len(loads) != known.loads:
            known.awaits = True
            self._changed(optimizer, known, values, first)
        elif values != known.values:
            self._changed(optimizer, known, values, first)
        if first:
            self._report(optimizer, known)
        if not recorder.takes("update"):
            return
        whole, known.awaits = known.awaits, False
        if whole:
            record_values(recorder, self._row, "update", self._state(optimizer, known.name), "train")
        site = known.name + "/settings"
        recorder.record(
            "update", site, known.fingerprint, phase="train", evidence=self._evidence(optimizer, known, whole)
        )
        self._row.fired += 1

    # -- settings -----------------------------------------------------------------------------------------------------
    def _changed(self, optimizer: Any, known: _Known, values: group_settings.Values, first: bool) -> None:
        """Finds who wrote the settings that have changed."""
        origins = self._origins
        loads, schedulers = origins.loads(optimizer), origins.schedulers(optimizer)
        stepped = [one for one in schedulers if one.steps != known.steps.get(id(one), 0)]
        # One that was made before the optimizer was restored has not set what was restored.
        made_since = [one for one in schedulers if one.loads == len(loads)] if first else []
        before = known.values
        if len(loads) != known.loads:
            before = origins.loaded(optimizer)
            self._all_wrote(known, before, "load_state_dict", [loads[-1]] * len(before))
        elif first:
            made = origins.groups(optimizer)
            before = tuple(one.values[0] for one in made)
            self._all_wrote(known, values, "constructor", [one.place for one in made])
            self._constructed(known, values, made)
        for g, key in group_settings.changed(before, values):
            if key != "initial_lr":  # a scheduler's note to itself
                self._wrote(known, g, key, stepped or made_since)
        known.values, known.fingerprint, known.since = values, group_settings.fingerprint(values), -1
        known.loads = len(loads)
        known.steps = {id(one): one.steps for one in schedulers}

    def _all_wrote(self, known: _Known, values: group_settings.Values, by: str, places: Sequence[Any]) -> None:
        for g, group in enumerate(values):
            for key, _ in group:
                known.writers.wrote(g, key, by, places[g] if g < len(places) else None)

    def _constructed(self, known: _Known, values: group_settings.Values, made: Sequence[GroupMade]) -> None:
        """Adds the calls that the value of a setting comes from, if the constructor's statement gives it."""
        calls: Dict[Any, List[str]] = {}
        for g, group in enumerate(values[: len(made)]):
            at = made[g].at
            for key, _ in group if at is not None else ():
                if (at, key) not in calls:
                    assert at is not None
                    calls[(at, key)] = source.calls_into(at[0], at[1], key)
                if calls[(at, key)]:
                    known.writers.wrote(g, key, "constructor", made[g].place, calls=calls[(at, key)])

    def _wrote(self, known: _Known, group: int, key: str, schedulers: Sequence[Scheduled]) -> None:
        if schedulers and key in ("lr", "momentum", "betas"):
            one = schedulers[-1]
            place = one.stepped or one.place
            known.writers.wrote(group, key, "scheduler", place, scheduler=one.kind, made=dict(one.place))
            return
        if key not in self._assigned:
            self._assigned[key] = self._assignment(key)
        lines, certain = self._assigned[key]
        known.writers.wrote(group, key, "assignment", certain, lines=lines)

    def _assignment(self, key: str) -> Tuple[List[Dict[str, Any]], Optional[Dict[str, Any]]]:
        """(the lines of the user's code that assign a setting, the line if there is one with the calls that its value comes from)."""
        found = source.assignments(self._origins.user_files(), key)[: group_settings.LINES_MAX]
        lines = [{"file": self._recorder.logical(file), "line": line} for file, line in found]
        certain = {**lines[0], "calls": source.calls_into(*found[0])} if len(found) == 1 else None
        return lines, certain

    def _evidence(self, optimizer: Any, known: _Known, whole: bool) -> Optional[Dict[str, Any]]:
        if not self._recorder.keeps_evidence:
            return None
        if known.since >= 0 and not whole:
            return {"since": known.since, "whole": known.whole}
        known.since = self._recorder.step
        if whole:
            known.whole = known.since
        found: Dict[str, Any] = {
            "whole": known.whole,
            "options": group_settings.options(known.values),
            "writers": known.writers.report(whole),
            "class": type(optimizer).__name__,
        }
        schedulers = self._origins.schedulers(optimizer)
        if schedulers:
            found["schedulers"] = [
                {"class": one.kind, "steps": one.steps, "stepped": one.stepped, "made": dict(one.place)}
                for one in schedulers
            ]
        if whole:
            loads = self._origins.loads(optimizer)
            names = [name for name, _ in self._named(optimizer)]
            found["order"], found["members"] = _digest(names), _digest(sorted(names))
            found["parameters"] = names[:NAMES_MAX]
            found["loaded"] = dict(loads[-1]) if loads else None
        return found

    # -- state --------------------------------------------------------------------------------------------------------
    def _state(self, optimizer: Any, name: str) -> Iterator[Entry]:
        states = getattr(optimizer, "state", None)
        if states is None or not hasattr(states, "get"):
            return
        for site, parameter in self._named(optimizer):
            state = states.get(parameter)
            for key, value in (state or {}).items() if hasattr(state or {}, "items") else ():
                place = "%s/state/%s.%s" % (name, site, key)
                if isinstance(value, _PLAIN):
                    yield place, value, None
                    continue
                for path, tensor in tensors(value):
                    yield place + path, tensor, None

    def _named(self, optimizer: Any) -> Iterator[Tuple[str, Any]]:
        name_of = self._model.names.trained
        for g, group in enumerate(optimizer.param_groups):
            for p, parameter in enumerate(group["params"]):
                yield name_of(parameter) or "group%d.%d" % (g, p), parameter

    # -- notes --------------------------------------------------------------------------------------------------------
    def _report(self, optimizer: Any, known: _Known) -> None:
        """Notes an optimizer before its first step: where it was made, whether it was restored, and what ordered its parameters."""
        made, loads = self._origins.groups(optimizer), self._origins.loads(optimizer)
        place = dict(made[0].place) if made else {}
        kind = type(optimizer).__name__
        states = getattr(optimizer, "state", None)
        self._recorder.note(
            "optimizer",
            "%s: %s" % (known.name, kind),
            **{"class": kind, "name": known.name, "restored": loads[-1] if loads else None},
            groups=len(optimizer.param_groups),
            states=len(states) if states is not None and hasattr(states, "__len__") else None,
            **place,
        )
        seen: List[Tuple[Any, Any]] = []
        for one in (found for group in made for found in group.ordered_by):
            if (one["file"], one["line"]) not in seen:
                seen.append((one["file"], one["line"]))
                text = "the parameters of %s pass through what has no order of its own" % known.name
                self._recorder.note("parameter-order", text, optimizer=known.name, made=place, **one)
        self._origins.report(optimizer, known.name)


def _digest(names: Sequence[str]) -> str:
    return blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
