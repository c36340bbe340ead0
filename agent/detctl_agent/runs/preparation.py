"""The one way in which a training becomes ready to start, whether a recipe, a command line or another container asks for it.

It stages the probe, gives the run folders of its own, and describes all of this in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detctl_probe import stage
from detctl_probe.settings import Settings
from detctl_proto.security.redaction import RecordingKey

from detctl_agent import manifest
from detctl_agent.catalog.access import check_access, check_interpreter
from detctl_agent.catalog.admission import Order
from detctl_agent.launcher.container import engine_variables
from detctl_agent.launcher.placeholders import free_port, names_in
from detctl_agent.launcher.variables import prepend
from detctl_agent.manifest.known_answers import KnownAnswers
from detctl_agent.manifest.variables import RunVariables
from detctl_agent.runs import arguments
from detctl_agent.runs.launch_plan import LaunchPlan
from detctl_agent.runs.run_clock import RunClock
from detctl_agent.source import source
from detctl_agent.state import ownership
from detctl_agent.state.run_folder import RunFolder, disk_error
from detctl_agent.state.sockets import RuntimeFolder


@dataclass(frozen=True)
class Training:
    """A training as it is requested: everything but the probe, the run's own folders and the manifest.

    plan: its variables lack the probe's, and its container lacks the mounts of the run.
    interpreter: the Python whose packages the manifest lists; unused if `inside` has them.
    places: folders and files that are compared by name. named_arguments: folders among the arguments become places too.
    recipe, environment: sections of the manifest.
    own_caches: temporary files and compile caches lie in the run's folder. own_home: the home folder too.
    inside: facts about the image or pod that it trains in; None if it trains on this machine.
    origin: the folder that its source comes from. source: what was copied, if the run must leave that folder unchanged."""

    order: Order
    plan: LaunchPlan
    interpreter: str
    places: Mapping[str, str]
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    origin: Path
    source: source.Source | None = None
    named_arguments: bool = False
    own_caches: bool = True
    own_home: bool = True
    inside: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Prepared:
    """A training that is ready to start. shown: what the manifest records of its variables. source: compared with its folder
    afterwards, to report whether the run wrote there; None if that is allowed. places: logical name -> path, as the probe has them."""

    plan: LaunchPlan
    manifest: dict[str, Any]
    shown: RunVariables
    source: source.Source | None
    places: Mapping[str, str] = field(default_factory=dict)


def prepare(
    training: Training,
    folder: RunFolder,
    runtime: RuntimeFolder,
    *,
    machine: str,
    key: RecordingKey,
    clock: RunClock | None = None,
    answers: KnownAnswers | None = None,
) -> Prepared:
    """Raises RunRefusedError, AgentError or DiskFullError. key: of the digests in the manifest. clock: measures the parts.
    answers: where known answers come from; None: the environment is not asked for them."""
    clock = clock or RunClock()
    order, plan, account, container = training.order, training.plan, training.plan.account, training.plan.container
    env = dict(plan.env)
    if training.own_caches:
        _use_own_folders(env, folder, runtime, home=training.own_home)
    named = arguments.named_folders(plan.argv, plan.cwd) if training.named_arguments else {}
    places = {**named, **training.places}
    settings = _probe_settings(training, places, folder, runtime)
    _add_probe(env, folder, settings)
    if account:
        env.setdefault("USER", account.name)  # a number may have no name, and libraries ask for one
        ownership.give(folder, account)
        if not container:
            check_access(account, folder, plan.cwd, training.origin, places)
    if container:
        container = replace(
            container,
            writable=(plan.cwd, folder.home, folder.tmp, folder.out, folder.caches, runtime.path),
            readable=(folder.probe, folder.given, training.origin, *map(Path, places.values())),
        )
    # Paths that differ from run to run; the manifest shows the names instead.
    shown = RunVariables.of(env, (("{runtime}", runtime.path), ("{run}", folder.root)), key)
    with clock.measure("manifest"):
        facts = manifest.run_manifest(
            machine,
            interpreter=training.interpreter,
            variables=env,
            shown=shown,
            # Recordings run where they are: another folder, or file system, is a difference that twins of an audit do not have.
            places=places if training.own_home else {**places, "cwd": str(plan.origin or plan.cwd)},
            recipe=training.recipe,
            environment=training.environment,
            inside=training.inside,
            account=account,
        )
    runs_interpreter = training.inside is None and plan.argv[0] == training.interpreter
    if account and runs_interpreter and "version" not in facts["python"]:
        check_interpreter(account, training.interpreter, env)
    if order.known_answers and answers is not None:
        with clock.measure("known_answers"):
            facts["known_answers"] = manifest.known_answers(training.interpreter, env, answers, container, account)
    if container:
        argv = container.command(plan.argv, plan.cwd, env)
        return Prepared(
            replace(plan, argv=argv, env=engine_variables(), container=container),
            facts,
            shown,
            training.source,
            settings.paths,
        )
    return Prepared(replace(plan, env=env), facts, shown, training.source, settings.paths)


def placeholder_values(
    folder: RunFolder, runtime: RuntimeFolder, texts: Iterable[str], given: Mapping[str, str], port_name: str
) -> dict[str, str]:
    """The values of all placeholders: those that are `given`, and those that each run has of its own. A port is searched only if
    one of the texts needs it; equal names get equal ports if possible."""
    values = {"seed": "0", **given, "out": str(folder.out), "tmp": str(runtime.tmp)}
    if "port" in names_in(texts):
        values["port"] = str(free_port(port_name))
    return values


def _probe_settings(
    training: Training, places: Mapping[str, str], folder: RunFolder, runtime: RuntimeFolder
) -> Settings:
    order = training.order
    own = {"tmp": runtime.tmp, "cache": folder.caches, "out": folder.out}
    if training.own_home:
        own["home"] = folder.home
    return Settings(
        socket=str(runtime.socket),
        level=training.plan.level,
        window_start=order.step_from,
        window_end=order.step_to,
        paths={**{name: str(path) for name, path in own.items()}, **places, "cwd": str(training.plan.cwd)},
        interventions=dict(order.interventions),
        budget=order.budget_share or None,
        given=str(folder.given) if "transplant" in order.interventions else "",
    )


def _use_own_folders(env: dict[str, str], folder: RunFolder, runtime: RuntimeFolder, *, home: bool) -> None:
    """Makes the folders of the run for what it writes beside its work, and points its variables there."""
    folder.make_private()
    env["TMPDIR"] = str(runtime.tmp)
    if home:
        env["HOME"] = str(folder.home)
        env.pop("XDG_CACHE_HOME", None)
    env["TORCHINDUCTOR_CACHE_DIR"] = str(folder.caches / "inductor")
    env["TRITON_CACHE_DIR"] = str(folder.caches / "triton")


def _add_probe(env: dict[str, str], folder: RunFolder, settings: Settings) -> None:
    """Stages the probe and sets the variables that start it. Raises DiskFullError or AgentError."""
    try:
        staged = stage.stage(str(folder.probe))
    except OSError as error:
        raise disk_error(error, folder.root) from error
    prepend(env, "PYTHONPATH", staged)
    env.update(settings.to_environment())
