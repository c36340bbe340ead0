"""Notes about checkpoints: which lines of the user's code save one, and which restore what of it (kinds `saved` and `restored`).

A resumed training is right only if it restores everything that the uninterrupted one carries from step to step. The notes show which
calls were made, not whether they suffice: the fingerprints of the steps that follow show that.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from typing import Any, Callable, Dict, Set, Tuple

from detctl_probe.observe.model import compiled
from detctl_probe.observe.model.steps import Guarded, Model, model_of
from detctl_probe.process.imports import when_imported
from detctl_probe.recording.recorder import Recorder

SOURCE_MAX = 160
PLACES_MAX = 64


class Restoring:
    """Notes each line once. A training may load weights in every step, as for a target network: only the frame is looked at then."""

    def __init__(self, recorder: Recorder, guarded: Guarded) -> None:
        self._recorder = recorder
        self._guarded = guarded
        self._noted: Set[Tuple[str, str, int]] = set()

    def noted(self, kind: str, call: str, what: str, path: Any = None) -> None:
        """Notes that the user's line calls `call`, which restores or saves `what`."""
        recorder = self._recorder
        frame = recorder.callers.user_frame(2)
        if frame is None or len(self._noted) >= PLACES_MAX:
            return
        key = (call, frame.f_code.co_filename, frame.f_lineno)
        if key in self._noted:
            return
        self._noted.add(key)
        fields: Dict[str, Any] = dict(recorder.callers.describe(frame))
        nearest = recorder.callers.nearest(depth=2)
        package = None if nearest is None else recorder.callers.package_at_work(nearest)
        if package is not None:  # a framework restores for the user
            fields["package"] = package
        fields["source"] = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()[:SOURCE_MAX]
        if isinstance(path, (str, bytes, os.PathLike)):
            fields["path"] = recorder.logical(os.path.abspath(os.fsdecode(path)))
        text = "%s is called, which %s %s" % (call, "saves" if kind == "saved" else "restores", what)
        recorder.note(kind, text, stage="init", call=call, what=what, **fields)

    def wrap(self, original: Callable[..., Any], call: str, what: str) -> Callable[..., Any]:
        """original, with a note once it has returned. The first argument of a function that reads a file is its path."""

        @functools.wraps(original)
        def restoring(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self._guarded(self.noted, "restored", call, what, args[0] if what == "file" and args else None)
            return result

        return compiled.hide(restoring)

    def methods(self, owner: Any, what: str) -> None:
        """Wraps load_state_dict of a class that defines it."""
        original = owner.__dict__.get("load_state_dict")
        if callable(original) and not hasattr(original, "_detctl_restoring"):
            patched = self.wrap(original, "%s.load_state_dict" % owner.__name__, what)
            patched._detctl_restoring = True  # type: ignore[attr-defined]
            owner.load_state_dict = patched


def install(recorder: Recorder) -> None:
    """Wraps what restores a part of a training: files, weights, optimizers, schedules and scalers.

    Functions that set the state of a generator are left alone: recomputed activations use them in each step, and the state itself shows
    whether it was restored."""
    torch: Any = sys.modules["torch"]
    row = recorder.observer("restoring", "init")
    model = model_of(recorder)
    watch = model.__dict__["restoring"] = Restoring(recorder, Guarded(model, row))
    torch.load = watch.wrap(torch.load, "torch.load", "file")
    watch.methods(torch.nn.Module, "weights")
    watch.methods(torch.optim.Optimizer, "optimizer")
    for kind in list(vars(torch.optim.lr_scheduler).values()):
        if isinstance(kind, type):
            watch.methods(kind, "schedule")
    for holder in (getattr(torch, "amp", None), getattr(torch.cuda, "amp", None)):
        scaler = getattr(holder, "GradScaler", None)
        if scaler is not None:
            watch.methods(scaler, "scaler")
    when_imported("safetensors.torch", functools.partial(_safetensors, watch))
    row.installed = True


def _safetensors(watch: Restoring, module: Any) -> None:
    module.load_file = watch.wrap(module.load_file, "load_file", "file")


def saves(model: Model, path: Any) -> None:
    """Notes the user's line that saved a file; called by the observer of artifacts."""
    model.state_due = True
    watch = model.__dict__.get("restoring")
    if watch is not None:
        watch.noted("saved", "torch.save", "file", path)
