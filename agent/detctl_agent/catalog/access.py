"""Checks what a training that runs as another user can reach, and that it cannot reach the rest. Each problem is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from detctl_agent.errors import AgentError, RunRefusedError
from detctl_agent.launcher.account import Account, account_of
from detctl_agent.launcher.as_user import run_as, unreachable
from detctl_agent.state.run_folder import RunFolder

if TYPE_CHECKING:  # see admission.py
    from detctl_agent.catalog.catalog import Catalog

TIMEOUT_S = 60.0


def check_access(account: Account, folder: RunFolder, work: Path, origin: Path, places: Mapping[str, str]) -> None:
    """Raises RunRefusedError, or AgentError if the agent cannot become this user at all.

    origin: the recipe's folder, which the user must not change, because the agent and git (.git/config) read it again."""
    data = {
        name: Path(place) for name, place in places.items() if Path(place).exists()
    }  # the training itself reports what is missing
    private = (work, folder.home, folder.tmp, folder.out, folder.caches)
    needed = [(place, "rx" if place == work else "rwx") for place in private]
    needed += [(folder.probe, "rx"), *((place, "rx" if place.is_dir() else "r") for place in data.values())]
    forbidden = [place for place in (origin, origin / ".git", origin / ".git" / "config") if place.exists()]
    answers = unreachable(account, [*needed, *((place, "w") for place in forbidden)])
    found = dict(zip([str(place) for place, _ in needed], answers, strict=False))
    if work != folder.work and (why := found[str(work)]):
        raise RunRefusedError(f"user {account.name} cannot train in {work}: {why}")
    for place in (*private, folder.probe):
        if why := found[str(place)]:
            raise RunRefusedError(
                f"user {account.name} cannot reach the folder of its run, {place}: {why}: give the agent a folder "
                "that this user can reach, such as --state /var/lib/detctl-agent"
            )
    for name, place in data.items():
        if why := found[str(place)]:
            raise RunRefusedError(f"user {account.name} cannot read the parameter {name}, {place}: {why}")
    for place, why in zip(forbidden, answers[len(needed) :], strict=True):
        if not why:
            raise RunRefusedError(
                f"user {account.name} may write to {place}, which the agent reads as another user: give the recipe's folder "
                f"to its owner, chown -R root {origin}"
            )


def root_warning(catalog: Catalog) -> str:
    """One line if the agent is root and the catalog does not name a user for trainings; empty otherwise."""
    silent = [name for name, environment in catalog.environments.items() if not (environment.user or catalog.user)]
    if os.geteuid() != 0 or not silent:
        return ""
    return (
        f"trainings of environment {', '.join(silent)} run as root and can read the agent's token and key: write "
        'user = "NAME" at the top of the catalog, or user = "root" if they may'
    )


def problems(catalog: Catalog) -> Iterator[str]:
    """Yields one line, with its key, for each user in the catalog that does not exist here or cannot train what the catalog offers."""
    seen = set()
    for name, environment in catalog.environments.items():
        user = environment.user or catalog.user
        key = f"environments.{name}.user" if environment.user else "user"
        try:
            account = account_of(user)
            if account is None or environment.image:
                continue
            needed = [(f"environments.{name}.python", environment.python or Path(sys.executable), "x")]
            for recipe_name, recipe in catalog.recipes.items():
                places = {parameter: Path(recipe.parameters[parameter]) for parameter in recipe.paths}
                needed += [
                    (f"recipes.{recipe_name}.parameters.{parameter}", place, "rx" if place.is_dir() else "r")
                    for parameter, place in places.items()
                    if place.exists()
                ]
            answers = unreachable(account, [(place, letters) for _, place, letters in needed])
        except AgentError as error:
            found = [f"{key}: {error}"]
        else:
            found = [
                f"{where}: user {account.name} cannot use {place}: {why}"
                for (where, place, _), why in zip(needed, answers, strict=True)
                if why
            ]
        yield from (line for line in found if line not in seen)
        seen.update(found)


def check_interpreter(account: Account, interpreter: str, variables: Mapping[str, str]) -> None:
    """Runs an interpreter that gave no facts. Raises RunRefusedError if this user cannot run it."""
    (why,) = unreachable(account, [(interpreter, "x")])
    if not why:
        try:
            done = run_as(account, [interpreter, "-I", "-c", ""], variables, TIMEOUT_S)
            if done.returncode == 0:
                return
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
    raise RunRefusedError(
        f"user {account.name} cannot run {interpreter}: {why}: put the environment where this user can read it, such as /opt, "
        "and name its interpreter as `python` of the environment"
    )
