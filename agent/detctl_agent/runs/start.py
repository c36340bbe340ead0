"""The environment that a training starts in before its own variables are added: this machine, a container, or another pod."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detctl_agent import manifest
from detctl_agent.catalog.admission import Admitted
from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher.account import Account
from detctl_agent.launcher.container import Container, Image, find_image
from detctl_agent.launcher.variables import SYSTEM_PATH, passed, prepend, taken_over
from detctl_agent.sidecar.attached import Attached

if TYPE_CHECKING:  # see admission.py
    from detctl_agent.catalog.recipe import Environment

PYTHON_NAMES = ("python", "python3")


@dataclass(frozen=True)
class Start:
    """What a training has before the variables of the run are added. inside: facts about its image or pod; inherit: whether its
    variables start from the agent's own."""

    env: dict[str, str]
    interpreter: str
    container: Container | None = None
    inside: Mapping[str, Any] | None = None
    inherit: bool = False  # never in an image: the agent's variables describe the agent's own system

    @property
    def here(self) -> bool:
        """Whether it starts as a process of this machine, so that its files can be checked."""
        return self.inside is None


def start_of(
    admitted: Admitted, mine: Mapping[str, str], inherit: bool, attached: Attached | None, account: Account | None
) -> Start:
    """A start on this machine, in a container of this machine, or in a pod that is already running. Raises RunRefusedError."""
    order, recipe, environment = admitted.order, admitted.recipe, admitted.environment
    if attached:
        env = taken_over(attached.hello["environ"])
        inside = attached.facts
        return Start(env, str(environment.python or inside["python"]["executable"]), inside=inside)
    if environment.image:
        container = Container(
            find_image(environment.image), order.key, network=environment.network or "none", account=account,
            limits=admitted.limits,
        )  # fmt: skip
        env = image_variables(container.image, recipe.pass_, mine)
        inside = manifest.image_facts(container, str(environment.python or ""), env)
        return Start(env, str(inside["python"]["executable"]), container, inside)
    if inherit and account:
        raise RunRefusedError(
            f"user {account.name}: with --inherit-environment trainings run as the agent; leave one of the two out"
        )
    env, interpreter = training_variables(environment, recipe.pass_, inherit=inherit, agent_variables=mine)
    return Start(env, interpreter, inherit=inherit)


def training_variables(
    environment: Environment, passes: tuple[str, ...], *, inherit: bool, agent_variables: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """(variables to begin with, absolute path of the interpreter). Raises RunRefusedError if there is no such interpreter."""
    if inherit:
        env = taken_over(agent_variables)
        found = next(
            (place for word in PYTHON_NAMES if (place := shutil.which(word, path=env["PATH"]))), sys.executable
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
    env.setdefault("PYTHONUNBUFFERED", "1")  # a training that is ended from outside must not lose its output
    return env, interpreter


def image_variables(image: Image, passes: tuple[str, ...], agent_variables: Mapping[str, str]) -> dict[str, str]:
    """Variables to begin with in an image: its own, those that the recipe passes, and which GPUs the agent may use."""
    env = {**image.variables, **passed(agent_variables, passes, always=("CUDA_VISIBLE_DEVICES",))}
    env.setdefault("PATH", SYSTEM_PATH)
    env.setdefault("LANG", "C.UTF-8")
    env.setdefault("USER", "detctl")  # the agent's user has no name in the image, and libraries ask for one
    env.setdefault("PYTHONUNBUFFERED", "1")
    return env
