"""Makes a run ready to start: private copy, staged probe, command and variables, manifest. Does the I/O of one run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detctl_probe import settings as probe_settings
from detctl_probe import stage
from detctl_proto.redaction import RecordingKey

from detctl_agent import manifest
from detctl_agent.catalog.access import check_access, check_interpreter
from detctl_agent.catalog.admission import Admitted
from detctl_agent.catalog.places import Private, check_unchanged, resolved
from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher.account import Account
from detctl_agent.launcher.container import Container, Image, engine_variables, find_image
from detctl_agent.launcher.placeholders import fill, free_port, names_in
from detctl_agent.launcher.variables import SYSTEM_PATH, passed, prepend, taken_over
from detctl_agent.manifest.variables import RunVariables
from detctl_agent.recording.recording_key import recording_key
from detctl_agent.runs import arguments
from detctl_agent.runs.runner import LaunchPlan
from detctl_agent.sidecar.attached import Attached
from detctl_agent.source import git_source, source
from detctl_agent.state import ownership
from detctl_agent.state.run_folder import RunFolder, disk_error
from detctl_agent.state.sockets import RuntimeFolder

if TYPE_CHECKING:  # see admission.py
    from detctl_agent.catalog.recipe import Environment

PYTHON_WORDS = ("python", "python3")


@dataclass(frozen=True)
class Prepared:
    """What the runner needs, and what is told of the run. shown: what is recorded of its variables. source: to see afterwards
    whether the run wrote into it, None where it runs in that folder."""

    plan: LaunchPlan
    manifest: dict[str, Any]
    shown: RunVariables
    source: source.Source | None


@dataclass(frozen=True)
class Taken:
    """The source of a run, where it is to be trained. origin: where the recipe has it."""

    found: source.Source
    origin: Path
    work: Path


def take_source(
    admitted: Admitted,
    folder: RunFolder,
    *,
    trees: Path,
    inherit: bool = False,
    snapshot: source.Source | None = None,
) -> Taken:
    """Looks at the recipe's source, and copies it unless it runs in place. Raises RunRefusedError, SourceError or DiskFullError.

    trees: where commits of recipes with a source are checked out.
    snapshot: copy the source from there instead of looking at the recipe's folder again."""
    order, recipe = admitted.order, admitted.recipe
    origin = recipe.folder
    if recipe.source:
        commit = admitted.parameters[git_source.PARAMETER]
        origin = git_source.folder_in(git_source.worktree(recipe.source, commit, trees), recipe.folder)
    found = snapshot or source.scan(origin, _bytes_max(admitted))
    # A command in the user's own folder may write there; its second twin finds another folder than was planned.
    fixed = not (inherit and recipe.runs_in_place)
    if fixed and order.expected_source_digest and found.digest != order.expected_source_digest:
        raise RunRefusedError(
            f"the source of recipe {order.recipe} in {origin} changed after the audit was planned: start the audit again"
        )
    if recipe.runs_in_place:
        return Taken(found, origin, recipe.folder)
    source.copy(found, folder.work)
    return Taken(found, origin, folder.work)


def prepare(
    admitted: Admitted,
    taken: Taken,
    folder: RunFolder,
    runtime: RuntimeFolder,
    *,
    machine: str,
    inherit: bool = False,
    agent_variables: Mapping[str, str] | None = None,
    answers: Path | None = None,
    attached: Attached | None = None,
    private: Private,
    key: RecordingKey | None = None,
    account: Account | None = None,
) -> Prepared:
    """Raises RunRefusedError, AgentError or DiskFullError. inherit: recipes start from the agent's whole environment, less secrets.
    answers: where known answers are kept, None: nobody is asked for them. attached: the training's container, where it is another.
    private: what of the agent no training is given. key: of the digests in its manifest; None: this user's.
    account: who it runs as, None: as this process."""
    order, recipe, environment = admitted.order, admitted.recipe, admitted.environment
    mine = os.environ if agent_variables is None else agent_variables
    found, work = taken.found, taken.work
    start = _start_of(admitted, mine, inherit, attached, account)
    # Another container has a file system of its own, in which the owner's template mounts what may be seen.
    places = _unresolved(admitted) if attached else resolved(admitted, private)
    values = {
        **admitted.parameters,
        **places,
        "out": str(folder.out),
        "tmp": str(runtime.tmp),
        "seed": admitted.parameters.get("seed", "0"),
    }
    if "port" in names_in([*recipe.command, *environment.variables.values()]):
        values["port"] = str(free_port(order.recipe))
    argv = [fill(word, values) for word in recipe.command]
    if not recipe.runs_in_place:
        argv = arguments.into_copy(argv, taken.origin, work, _bytes_max(admitted), foreign=_foreign(admitted))
    env, interpreter, container, inherit = start.env, start.interpreter, start.container, start.inherit
    env.update({name: fill(value, values) for name, value in environment.variables.items()})
    env.update(environment.emulation)
    for name, value in order.variables.items():
        if value:
            env[name] = value
        else:  # an experiment takes away what the environment sets
            env.pop(name, None)
    if argv[0] in PYTHON_WORDS:
        argv[0] = interpreter
    elif start.here and shutil.which(argv[0], path=env["PATH"]) is None and not (work / argv[0]).is_file():
        raise RunRefusedError(f"recipe {order.recipe}: the program {argv[0]!r} is not in {env['PATH']}")
    own = {"tmp": runtime.tmp, "cache": folder.caches, **({} if inherit else {"home": folder.home})}
    private_variables(env, folder, runtime, home=not inherit)
    named = arguments.named_folders(argv, work) if inherit and not places else places
    add_probe(
        env,
        folder,
        {
            "socket": str(runtime.socket),
            "level": order.level or "module",
            "window": [order.step_from, order.step_to],
            "paths": {
                **{name: str(path) for name, path in own.items()},
                "out": str(folder.out),
                **named,
                "cwd": str(work),
            },
            "interventions": dict(order.interventions),
            "budget": order.budget_share or None,
            "argv_paths": inherit,
            "given": str(folder.given) if "transplant" in order.interventions else None,
        },
    )
    if account:
        env.setdefault("USER", account.name)  # a number may have no name, and libraries ask for one
        ownership.give(folder, account)
        if not container:
            check_access(account, folder, work, taken.origin, places)
    if container:
        if not recipe.source and private.reached(Path(os.path.realpath(taken.origin))):
            raise RunRefusedError(
                f"recipe {order.recipe}: its folder {taken.origin} holds state or credentials of the agent, or lies among them: no "
                "container gets them; the machine's owner can put the recipe into a folder of its own"
            )
        container = replace(
            container,
            writable=(work, folder.home, folder.tmp, folder.out, folder.caches, runtime.path),
            readable=(folder.probe, folder.given, taken.origin, *(Path(place) for place in places.values())),
        )
    shown = RunVariables.of(env, own_paths(folder, runtime), key or recording_key())
    facts = manifest.run_manifest(
        machine,
        interpreter=interpreter,
        variables=env,
        shown=shown,
        places=named,
        recipe={
            "name": order.recipe,
            "command": list(recipe.command),
            "parameters": dict(admitted.parameters),
            "paths": list(recipe.paths),
            "source_digest": found.digest,
            "git_commit": found.git_commit,
            "timeout_s": recipe.timeout_s,
            "allow_transplant": recipe.allow_transplant,
        },
        environment={
            "name": order.environment or "default",
            "python": interpreter,
            "emulate": dict(environment.emulate),
            **({"image": environment.image} if environment.image else {}),
            **({"image_id": container.image.id} if container else {}),
            **({"user": account.name} if account else {}),
        },
        inside=start.inside,
        account=account,
    )
    if account and start.here and argv[0] == interpreter and "version" not in facts["python"]:
        check_interpreter(account, interpreter, env)
    if order.known_answers and answers is not None:
        facts["known_answers"] = manifest.known_answers(interpreter, env, answers, container, account)
    if not attached:  # asking an image for its facts takes seconds
        check_unchanged(admitted, places, private)
    plan = LaunchPlan(
        run_id=order.run_id,
        attempt=order.attempt,
        argv=container.command(argv, work, env) if container else tuple(argv),
        cwd=work,
        env=engine_variables() if container else env,
        timeout_s=recipe.timeout_s,
        output_bytes_max=int(recipe.output_mb_max * 1024 * 1024),
        level=order.level or "module",
        window_end=order.step_to,
        grace_s=recipe.grace_s,
        container=container,
        attached=attached,
        account=account,
        limits=None if inherit else admitted.limits,
    )
    return Prepared(plan, facts, shown, None if recipe.runs_in_place or found.folder != taken.origin else found)


@dataclass(frozen=True)
class _Start:
    """What a training has before the run's own variables are put in. inside: facts of its image; inherit: as for prepare."""

    env: dict[str, str]
    interpreter: str
    container: Container | None = None
    inside: Mapping[str, Any] | None = None
    inherit: bool = False  # never inside of an image: the agent's variables speak of the agent's own system

    @property
    def here(self) -> bool:
        """Whether it is started as a process of this machine, whose files can be looked at."""
        return self.inside is None


def _start_of(
    admitted: Admitted, mine: Mapping[str, str], inherit: bool, attached: Attached | None, account: Account | None
) -> _Start:
    """Here, in a container of this machine, or in one that has started by itself. Raises RunRefusedError."""
    order, recipe, environment = admitted.order, admitted.recipe, admitted.environment
    if attached:
        env = taken_over(attached.hello["environ"])
        inside = attached.facts
        return _Start(env, str(environment.python or inside["python"]["executable"]), inside=inside)
    if environment.image:
        container = Container(
            find_image(environment.image), order.key, network=environment.network or "none", account=account,
            limits=admitted.limits,
        )  # fmt: skip
        env = image_variables(container.image, recipe.pass_, mine)
        inside = manifest.image_facts(container, str(environment.python or ""), env)
        return _Start(env, str(inside["python"]["executable"]), container, inside)
    if inherit and account:
        raise RunRefusedError(
            f"user {account.name}: with --inherit-environment trainings run as the agent; leave one of the two out"
        )
    env, interpreter = training_variables(environment, recipe.pass_, inherit=inherit, agent_variables=mine)
    return _Start(env, interpreter, inherit=inherit)


def _unresolved(admitted: Admitted) -> dict[str, str]:
    return {name: admitted.parameters[name] for name in admitted.recipe.paths}


def _foreign(admitted: Admitted) -> frozenset[int]:
    """Positions of the command's words that hold a value from remote, or all, where the links in the source are a commit's."""
    return frozenset(
        position
        for position, word in enumerate(admitted.recipe.command)
        if admitted.recipe.source or admitted.order.parameters.keys() & set(names_in([word]))
    )


def _bytes_max(admitted: Admitted) -> int:
    return int(admitted.recipe.source_mb_max * 1024 * 1024)


def training_variables(
    environment: Environment, passes: tuple[str, ...], *, inherit: bool, agent_variables: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """(variables to begin with, absolute path of the interpreter). Raises RunRefusedError where the interpreter is not there."""
    if inherit:
        env = taken_over(agent_variables)
        found = next(
            (place for word in PYTHON_WORDS if (place := shutil.which(word, path=env["PATH"]))), sys.executable
        )
        interpreter = str(environment.python or found)
        if environment.python:
            prepend(env, "PATH", str(environment.python.parent))
    else:
        interpreter = str(environment.python or sys.executable)
        env = passed(agent_variables, passes)
        env["PATH"] = f"{Path(interpreter).parent}:{SYSTEM_PATH}"
        env["LANG"] = "C.UTF-8"
    if not os.access(interpreter, os.X_OK):
        raise RunRefusedError(
            f"the interpreter {interpreter} does not exist or may not be run: correct `python` of the environment"
        )
    env.setdefault("PYTHONUNBUFFERED", "1")  # a training that is ended from outside must not lose what it printed
    return env, interpreter


def image_variables(image: Image, passes: tuple[str, ...], agent_variables: Mapping[str, str]) -> dict[str, str]:
    """Variables to begin with in an image: its own, those that the recipe passes, and which GPUs the agent may use."""
    env = {**image.variables, **passed(agent_variables, passes, always=("CUDA_VISIBLE_DEVICES",))}
    env.setdefault("PATH", SYSTEM_PATH)
    env.setdefault("LANG", "C.UTF-8")
    env.setdefault("USER", "detctl")  # the agent's user has no name in there, and libraries ask for one
    env.setdefault("PYTHONUNBUFFERED", "1")
    return env


def private_variables(env: dict[str, str], folder: RunFolder, runtime: RuntimeFolder, *, home: bool) -> None:
    """Points what a run writes beside its work into folders of its own; makes them."""
    folder.make_private()
    env["TMPDIR"] = str(runtime.tmp)
    if home:
        env["HOME"] = str(folder.home)
        env.pop("XDG_CACHE_HOME", None)
    env["TORCHINDUCTOR_CACHE_DIR"] = str(folder.caches / "inductor")
    env["TRITON_CACHE_DIR"] = str(folder.caches / "triton")


def add_probe(env: dict[str, str], folder: RunFolder, settings: Mapping[str, Any]) -> None:
    """Stages the probe and tells it where to speak. Raises DiskFullError or AgentError."""
    try:
        staged = stage.stage(str(folder.probe))
    except OSError as error:
        raise disk_error(error, folder.root) from error
    prepend(env, "PYTHONPATH", staged)
    env[probe_settings.VARIABLE] = json.dumps(settings)


def own_paths(folder: RunFolder, runtime: RuntimeFolder) -> tuple[tuple[str, Path], ...]:
    """Paths that differ from run to run, by the names that a manifest shows instead."""
    return (("{runtime}", runtime.path), ("{run}", folder.root))
