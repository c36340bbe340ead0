"""Starts the probe in an interpreter that a launcher wants observed: recorder, observers, interventions.

Each observer is a module below `detctl_probe.observe` (each intervention: below `detctl_probe.intervene`) with

    def install(recorder) -> None

which is called once, now (WITH_PYTHON) or when the package that it watches has been imported (AFTER_IMPORT). If an observer raises, its
stage becomes unobserved, a line goes to stderr, and the training continues.
"""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import replace
from types import ModuleType
from typing import Dict, Tuple

from detctl_probe.process import commandline, facts, source_trees
from detctl_probe.process.imports import began_at, when_imported
from detctl_probe.process.stderr import log
from detctl_probe.recording import ends
from detctl_probe.recording.recorder import CHILD, LAUNCHER, MAIN, Recorder, set_recorder
from detctl_probe.settings import Settings

# Interventions first: a listing record shows the order after it.
WITH_PYTHON: Tuple[Tuple[str, str], ...] = (
    ("observe.host.code", "code"),
    ("intervene.listing", "listing"),
    ("intervene.randomness.seed", "rng"),
    ("intervene.randomness.identity", "rng"),
    ("intervene.completion", "sample"),
    ("observe.host.listings", "listing"),
    ("observe.host.files", "files"),
    ("observe.randomness.rng", "rng"),
    ("observe.randomness.seeds", "rng"),
    ("observe.host.variables", "code"),
    ("observe.host.completions", "sample"),
    ("observe.outside.user_reads", "code"),
    ("observe.outside.file_times", "files"),
    ("observe.outside.commands", "code"),
    ("observe.outside.databases", "files"),
    ("observe.host.threads", "sample"),
)

AFTER_IMPORT: Dict[str, Tuple[Tuple[str, str], ...]] = {
    # `import torch` imports torch.utils.data, torch.optim, torch.amp and torch.distributed too.
    "torch": (
        ("intervene.bare", "update"),
        ("intervene.workers", "order"),
        ("intervene.numerics.deterministic", "forward"),
        ("intervene.numerics.threads", "forward"),
        ("intervene.numerics.precision", "forward"),
        ("intervene.numerics.attention", "forward"),
        ("intervene.randomness.worker_seeds", "rng"),
        ("intervene.numerics.ddp_buckets", "collective"),
        ("intervene.fault", "forward"),
        ("intervene.keep", "init"),
        ("intervene.transplant", "init"),
        ("intervene.values", "init"),
        ("observe.data.loader", "order"),
        ("observe.data.batches", "batch"),
        ("observe.model.modules", "forward"),
        ("observe.model.init", "init"),
        ("observe.optimization.loss", "loss"),
        ("observe.optimization.backward", "backward"),
        ("observe.optimization.optimizer", "update"),
        ("observe.optimization.scaler", "update"),
        ("observe.model.artifacts", "artifact"),
        ("observe.model.restoring", "init"),
        ("observe.model.collectives", "collective"),
        ("observe.ops.ops", "forward"),
    ),
    "torchvision.transforms": (("observe.data.transforms", "sample"),),
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
        recorder = Recorder(settings, _role(command, settings), facts.collect)
        set_recorder(recorder)
        ends.install(recorder)
    except Exception as error:
        log("the probe cannot start, so the training runs unobserved: %s: %s" % (type(error).__name__, error))
        return
    if recorder.role == LAUNCHER:
        return
    for name, stage in WITH_PYTHON:
        if _is_needed(recorder, name):
            install(recorder, name, stage)
    recorder.at_step_start(functools.partial(_free_trees, recorder))
    for package, observers in AFTER_IMPORT.items():
        _await(recorder, package, observers)


def install(recorder: Recorder, name: str, stage: str) -> None:
    """Installs one observer or intervention by the name of its module below detctl_probe. Never raises."""
    package, short = name.partition(".")[0], name.rpartition(".")[2]
    if package == "intervene":
        short = "intervene." + short
    row = recorder.observer(short, stage)
    try:
        importlib.import_module("detctl_probe." + name).install(recorder)
        row.installed = True
    except Exception as error:
        why = "%s: %s" % (type(error).__name__, error)
        row.failed = why
        log("stage %s is not observed, because observer %s failed: %s" % (stage, short, why))
        recorder.note("observer-failed", "observer %s failed: %s" % (short, why), stage=stage)
        recorder.unobserved(stage, "everything that observer %s records" % short, why)


def _is_needed(recorder: Recorder, name: str) -> bool:
    """Whether a module is installed. Interventions that nobody requested are not even imported: the training may lack what they import.
    An uninstrumented run has its interventions, but only the observer that counts steps and shows the weights."""
    package, short = name.partition(".")[0], name.rpartition(".")[2]
    if package == "intervene":
        return short in recorder.settings.interventions
    return recorder.settings.uninstrumented_until is None or short == "optimizer"


def _await(recorder: Recorder, package: str, observers: Tuple[Tuple[str, str], ...]) -> None:
    def imported(_: ModuleType) -> None:
        with recorder.working():
            for name, stage in observers:
                if _is_needed(recorder, name):
                    install(recorder, name, stage)
            if package == "torch":
                recorder.imported(began_at.get(package))

    when_imported(package, imported)


def _free_trees(recorder: Recorder) -> None:
    """The observers share the syntax trees of the user's source until the first step ends."""
    if recorder.step:
        source_trees.forget()


def _role(command: commandline.Command, settings: Settings) -> str:
    """MAIN for the process that the launcher started (an exec keeps it), CHILD for an interpreter that it started in turn."""
    if command.launcher:
        return LAUNCHER
    if settings.main_pid not in (None, os.getpid()):
        return CHILD
    os.environ.update(replace(settings, main_pid=os.getpid()).to_environment())
    return MAIN
