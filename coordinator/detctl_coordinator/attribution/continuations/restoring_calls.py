"""Names the calls that save and restore a state: of the user's own objects if the probe has seen them, else with usual names. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from detctl_coordinator.attribution.continuations.kept_state import LostValue
from detctl_coordinator.attribution.continuations.restoration import BUILT_IN, Restoration, State

# State -> (what saves it, what restores it; {} stands for the saved value).
CALLS: Mapping[State, tuple[str, str]] = {
    "python": ("random.getstate()", "random.setstate({})"),
    "numpy": ("numpy.random.get_state()", "numpy.random.set_state({})"),
    "torch": ("torch.get_rng_state()", "torch.set_rng_state({})"),
    "cuda": ("torch.cuda.get_rng_state_all()", "torch.cuda.set_rng_state_all({})"),
    "loader": ("loader.generator.get_state()", "loader.generator.set_state({})"),
    "private": ("rng.bit_generator.state", "rng.bit_generator.state = {}"),
    "optimizer": ("optimizer.state_dict()", "optimizer.load_state_dict({})"),
    "schedule": ("scheduler.state_dict()", "scheduler.load_state_dict({})"),
    "scaler": ("scaler.state_dict()", "scaler.load_state_dict({})"),
    "ema": ("ema.state_dict()", "ema.load_state_dict({})"),
    "weights": ("model.state_dict()", "model.load_state_dict({})"),
    "buffers": ("model.state_dict()", "model.load_state_dict({})"),
}
OBJECTS_MAX = 3
_STATE_DICT = ("{}.state_dict()", "{}.load_state_dict({{}})")
_PLAIN = ("{}", "{} = {{}}")
# Type of a generator -> (what returns its state, what sets it).
_OF_GENERATORS: Mapping[str, tuple[str, str]] = {
    "torch.Generator": ("{}.get_state()", "{}.set_state({{}})"),
    "numpy.Generator": ("{}.bit_generator.state", "{}.bit_generator.state = {{}}"),
    "numpy.RandomState": ("{}.get_state()", "{}.set_state({{}})"),
    "random.Random": ("{}.getstate()", "{}.setstate({{}})"),
}


def calls_of(state: State, found: Restoration) -> list[tuple[str, str]]:
    """Returns (what saves it, what restores it) of each object that has this state; empty if no call can do it."""
    values = found.values.get(state, ())
    if not values:
        return [CALLS[state]] if state in CALLS else []
    if state == "schedule":
        values = tuple(value for value in values if value.found.kind == "schedule")
    if state == "epoch":  # set_epoch sets those of torch
        values = tuple(value for value in values if value.site.partition(".")[0] not in BUILT_IN)
    calls = [_calls_of(state, value) for value in values]
    return list(dict.fromkeys(calls))[:OBJECTS_MAX]


def _calls_of(state: State, value: LostValue) -> tuple[str, str]:
    path, of = value.found.path or value.site, value.found.type
    if of in _OF_GENERATORS:
        save, restore = _OF_GENERATORS[of]
    elif state in ("schedule", "scaler"):
        path, (save, restore) = path.rpartition(".")[0], _STATE_DICT
    elif state == "ema" and not path.endswith("]"):
        save, restore = _STATE_DICT  # a module
    else:
        path, (save, restore) = re.sub(r"(\[[^\]]*\])+$", "", path), _PLAIN
    return save.format(path), restore.format(path)
