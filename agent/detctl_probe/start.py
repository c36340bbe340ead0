"""Starts the probe in an interpreter that a launcher asked to be watched: recorder, observers, interventions.

Each observer is a module `detctl_probe.observe.X` (an intervention: `detctl_probe.intervene.X`) with

    def install(recorder) -> None

called once, now (WITH_PYTHON) or when the package that it watches has been imported (AFTER_IMPORT). What an observer raises
is caught here: its stage becomes unobserved, one line goes to stderr, and the training goes on.
"""

from __future__ import annotations

import importlib
import json
import os
from types import ModuleType
from typing import Dict, Tuple

from detctl_probe import commandline, ends, facts
from detctl_probe.imports import when_imported
from detctl_probe.recorder import CHILD, LAUNCHER, MAIN, Recorder, set_recorder
from detctl_probe.say import say
from detctl_probe.settings import VARIABLE, Settings

# Interventions first: a listing record shows the order after it.
WITH_PYTHON: Tuple[Tuple[str, str], ...] = (
    ("observe.code", "code"),
    ("intervene.listing", "listing"),
    ("intervene.seed", "rng"),
    ("intervene.identity", "rng"),
    ("intervene.completion", "sample"),
    ("observe.listings", "listing"),
    ("observe.files", "files"),
    ("observe.rng", "rng"),
    ("observe.seeds", "rng"),
    ("observe.variables", "code"),
    ("observe.completions", "sample"),
)

AFTER_IMPORT: Dict[str, Tuple[Tuple[str, str], ...]] = {
    # `import torch` imports torch.utils.data, torch.optim, torch.amp and torch.distributed too.
    "torch": (
        ("intervene.bare", "update"),
        ("intervene.workers", "order"),
        ("intervene.deterministic", "forward"),
        ("intervene.threads", "forward"),
        ("intervene.precision", "forward"),
        ("intervene.attention", "forward"),
        ("intervene.worker_seeds", "rng"),
        ("intervene.ddp_buckets", "collective"),
        ("intervene.fault", "forward"),
        ("intervene.keep", "init"),
        ("intervene.transplant", "init"),
        ("observe.loader", "order"),
        ("observe.batches", "batch"),
        ("observe.modules", "forward"),
        ("observe.init", "init"),
        ("observe.loss", "loss"),
        ("observe.backward", "backward"),
        ("observe.optimizer", "update"),
        ("observe.scaler", "update"),
        ("observe.artifacts", "artifact"),
        ("observe.collectives", "collective"),
        ("observe.ops", "forward"),
    ),
    "torchvision.transforms": (("observe.transforms", "sample"),),
}


def start() -> None:
    """Called by inject/sitecustomize.py. Never raises."""
    try:
        settings = Settings.from_environment()
        if settings is None:
            return
        command = commandline.own()
        if command.helper:
            return
        recorder = Recorder(settings, _role(command), facts.collect)
        set_recorder(recorder)
        ends.install(recorder)
    except Exception as error:
        say("the probe does not start, the training goes on unobserved: %s: %s" % (type(error).__name__, error))
        return
    if recorder.role == LAUNCHER:
        return
    for name, stage in WITH_PYTHON:
        if _wanted(recorder, name):
            install(recorder, name, stage)
    for package, observers in AFTER_IMPORT.items():
        _await(recorder, package, observers)


def install(recorder: Recorder, name: str, stage: str) -> None:
    """Installs one observer or intervention by the name of its module below detctl_probe. Never raises."""
    short = name.rpartition(".")[2] if name.startswith("observe.") else name
    row = recorder.observer(short, stage)
    try:
        importlib.import_module("detctl_probe." + name).install(recorder)
        row.installed = True
    except Exception as error:
        why = "%s: %s" % (type(error).__name__, error)
        row.failed = why
        say("%s is not observed: observer %s failed: %s" % (stage, short, why))
        recorder.note("observer-failed", "observer %s: %s" % (short, why), stage=stage)
        recorder.unobserved(stage, "all that observer %s sees" % short, why)


def _wanted(recorder: Recorder, name: str) -> bool:
    """Interventions that nobody asked for are not even imported: what they import the training may not have. A bare run has what was asked
    for like any other, and of observers the one that counts steps and shows the weights."""
    package, _, short = name.partition(".")
    if package == "intervene":
        return short in recorder.settings.interventions
    return recorder.settings.bare is None or short == "optimizer"


def _await(recorder: Recorder, package: str, observers: Tuple[Tuple[str, str], ...]) -> None:
    def imported(_: ModuleType) -> None:
        with recorder.working():
            for name, stage in observers:
                if _wanted(recorder, name):
                    install(recorder, name, stage)

    when_imported(package, imported)


def _role(command: commandline.Command) -> str:
    """main: what the launcher started (an exec keeps it); child: an interpreter below one that was main."""
    if command.launcher:
        return LAUNCHER
    told = json.loads(os.environ[VARIABLE])
    parent = told.get("main_pid")
    if parent is not None and parent != os.getpid():
        return CHILD
    told["main_pid"] = os.getpid()
    os.environ[VARIABLE] = json.dumps(told)
    return MAIN
