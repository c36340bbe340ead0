"""The training that a recipe of the catalog describes, on this machine, in a container, or in another pod."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from detctl_proto.levels import DEFAULT_LEVEL
from detctl_proto.security.redaction import RecordingKey

from detctl_agent.catalog.admission import Admitted
from detctl_agent.catalog.places import Private, check_unchanged, resolved
from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher.account import Account
from detctl_agent.launcher.placeholders import fill, names_in
from detctl_agent.manifest.known_answers import KnownAnswers
from detctl_agent.recording.recording_key import recording_key
from detctl_agent.runs import arguments
from detctl_agent.runs.launch_plan import LaunchPlan
from detctl_agent.runs.preparation import Prepared, Training, placeholder_values, prepare
from detctl_agent.runs.run_clock import RunClock
from detctl_agent.runs.start import PYTHON_NAMES, Start, start_of
from detctl_agent.sidecar.attached import Attached
from detctl_agent.source.run_source import RunSource
from detctl_agent.state.run_folder import RunFolder
from detctl_agent.state.sockets import RuntimeFolder


def prepare_recipe(
    admitted: Admitted,
    source: RunSource,
    folder: RunFolder,
    runtime: RuntimeFolder,
    *,
    machine: str,
    clock: RunClock | None = None,
    inherit: bool = False,
    agent_variables: Mapping[str, str] | None = None,
    answers: KnownAnswers | None = None,
    attached: Attached | None = None,
    private: Private,
    key: RecordingKey | None = None,
    account: Account | None = None,
) -> Prepared:
    """Raises RunRefusedError, AgentError or DiskFullError. inherit: recipes start from the agent's whole environment, except secrets.
    answers: where known answers come from; None: the environment is not asked for them. attached: the training's container,
    if it is another. private: paths of the agent that no training may use. key: of the digests in the manifest; None: this user's.
    account: the user to train as; None: the user of this process."""
    mine = os.environ if agent_variables is None else agent_variables
    start = start_of(admitted, mine, inherit, attached, account)
    # Another container has a file system of its own, in which the owner's template mounts what may be seen.
    places = (
        {name: admitted.parameters[name] for name in admitted.recipe.paths} if attached else resolved(admitted, private)
    )
    if start.container and not admitted.recipe.source and private.reached(Path(os.path.realpath(source.origin))):
        raise RunRefusedError(
            f"recipe {admitted.order.recipe}: its folder {source.origin} holds state or credentials of the agent, or lies among "
            "them: no container gets them; the machine's owner can put the recipe into a folder of its own"
        )
    training = _training(admitted, source, start, places, folder, runtime, attached=attached, account=account)
    prepared = prepare(
        training, folder, runtime, machine=machine, key=key or recording_key(), clock=clock, answers=answers
    )
    if not attached:  # asking an image for its facts takes seconds
        check_unchanged(admitted, places, private)
    return prepared


def _training(
    admitted: Admitted,
    source: RunSource,
    start: Start,
    places: dict[str, str],
    folder: RunFolder,
    runtime: RuntimeFolder,
    *,
    attached: Attached | None,
    account: Account | None,
) -> Training:
    order, recipe, environment = admitted.order, admitted.recipe, admitted.environment
    texts = [*recipe.command, *environment.variables.values()]
    values = placeholder_values(folder, runtime, texts, {**admitted.parameters, **places}, order.recipe)
    argv = [fill(word, values) for word in recipe.command]
    if source.work != source.origin:
        argv = arguments.into_copy(
            argv, source.origin, source.work, recipe.source_bytes_max, foreign=_foreign(admitted)
        )
    env = _variables(admitted, start, values)
    if argv[0] in PYTHON_NAMES:
        argv[0] = start.interpreter
    elif start.here and shutil.which(argv[0], path=env["PATH"]) is None and not (source.work / argv[0]).is_file():
        raise RunRefusedError(f"recipe {order.recipe}: the program {argv[0]!r} is not in {env['PATH']}")
    return Training(
        order=order,
        plan=LaunchPlan(
            run_id=order.run_id,
            attempt=order.attempt,
            argv=tuple(argv),
            cwd=source.work,
            env=env,
            timeout_s=recipe.timeout_s,
            output_bytes_max=int(recipe.output_mb_max * 1024 * 1024),
            level=order.level or DEFAULT_LEVEL,
            window_end=order.step_to,
            grace_s=recipe.grace_s,
            container=start.container,
            attached=attached,
            account=account,
            limits=None if start.inherit else admitted.limits,
            view=source.view,
            keep_files=recipe.keep_files,
            interpreter=start.interpreter,
            origin=source.origin if source.work != source.origin else None,
        ),
        interpreter=start.interpreter,
        places=places,
        named_arguments=start.inherit and not places,
        own_home=not start.inherit,
        recipe={
            "name": order.recipe,
            "command": list(recipe.command),
            "parameters": dict(admitted.parameters),
            "paths": list(recipe.paths),
            "source_digest": source.found.digest,
            "git_commit": source.found.git_commit,
            "timeout_s": recipe.timeout_s,
            "allow_transplant": recipe.allow_transplant,
            "allow_values": recipe.allow_values,
        },
        environment={
            "name": order.environment or "default",
            "python": start.interpreter,
            "emulate": dict(environment.emulate),
            **({"image": environment.image} if environment.image else {}),
            **({"image_id": start.container.image.id} if start.container else {}),
            **({"user": account.name} if account else {}),
        },
        origin=source.origin,
        source=source.found if source.work != source.origin and source.found.folder == source.origin else None,
        inside=start.inside,
    )


def _variables(admitted: Admitted, start: Start, values: Mapping[str, str]) -> dict[str, str]:
    """The training's variables: the start's, the environment's, and the order's, which count most."""
    env = {**start.env, **{name: fill(value, values) for name, value in admitted.environment.variables.items()}}
    env.update(admitted.environment.emulation)
    for name, value in admitted.order.variables.items():
        if value:
            env[name] = value
        else:  # an experiment removes what the environment sets
            env.pop(name, None)
    return env


def _foreign(admitted: Admitted) -> frozenset[int]:
    """Positions of the command's words that hold a value from remote; all of them if a commit brings the links in the source."""
    return frozenset(
        position
        for position, word in enumerate(admitted.recipe.command)
        if admitted.recipe.source or admitted.order.parameters.keys() & set(names_in([word]))
    )
