"""Decides which places of this machine a request may name: those below the owner's roots, and never what belongs to the agent.

A request is checked twice. `check_value` checks the text alone when the order is admitted, so that a refusal reveals nothing about this
machine's files. `resolved` follows the links just before the training starts, and the training gets the resolved path, so that
exchanging a link in between has no effect.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detctl_proto.security.credentials import KEY, TOKEN
from platformdirs import user_config_path, user_state_path

from detctl_agent.catalog.place_values import allowed_places, check_value, subject_of
from detctl_agent.catalog.roots import is_of_system, real_path, root_problem
from detctl_agent.errors import RunRefusedError
from detctl_agent.state.sockets import runtime_roots

if TYPE_CHECKING:  # see admission.py
    from detctl_agent.catalog.admission import Admitted
    from detctl_agent.catalog.catalog import Catalog
    from detctl_agent.catalog.recipe import Recipe

# Where the agent's own tools (git, ssh, the container engines) keep credentials, images and containers.
OF_TOOLS = (
    "~/.ssh", "~/.netrc", "~/.git-credentials", "~/.config/git", "~/.docker", "~/.kube", "~/.config/containers",
    "~/.local/share/containers", "~/.local/share/docker", "/var/lib/docker", "/var/lib/containerd",
    "/var/lib/containers", "/var/lib/kubelet", "/run/docker.sock", "/run/podman", "/run/containerd", "/run/crio",
)  # fmt: skip
ENGINE_ADDRESSES = ("DOCKER_HOST", "CONTAINER_HOST")


@dataclass(frozen=True)
class Private:
    """Resolved paths that no request may reach: the agent's state, credentials and sockets."""

    paths: tuple[Path, ...] = ()

    @classmethod
    def of_agent(cls, catalog: Path, state: Path | None, *credentials: Path | None) -> Private:
        """The private paths of an agent with this catalog and state folder. credentials: folders or files that it uses."""
        given = [path for path in (state, *credentials) if path is not None]
        config, states = user_config_path("detctl"), user_state_path("detctl")
        tools = [Path(text).expanduser() for text in OF_TOOLS]
        if runtime := os.environ.get("XDG_RUNTIME_DIR"):
            tools += [Path(runtime) / "podman", Path(runtime) / "docker.sock"]  # of rootless engines
        sockets = [
            Path(address.partition("://")[2])
            for variable in ENGINE_ADDRESSES
            if (address := os.environ.get(variable, "")).startswith("unix:///")
        ]
        found = [*given, config, states, *runtime_roots(), *tools, *sockets, *_beside(catalog.resolve().parent)]
        return cls(tuple(dict.fromkeys(map(real_path, found))))

    def reached(self, place: Path) -> bool:
        """Whether a training with access to the resolved `place` reaches one of them: the place lies in one, or contains one."""
        identities = {one for path in self.paths if (one := _identity(path))}
        above = {one for path in (place, *place.parents) if (one := _identity(path))}
        # Identities are compared too, because a bind mount is another name of the same folder.
        return bool(above & identities) or any(
            place.is_relative_to(path) or path.is_relative_to(place) for path in self.paths
        )


def resolved(admitted: Admitted, private: Private) -> dict[str, str]:
    """The places of a run by parameter, as its training gets them: the owner's own as the catalog has them, those from remote with
    all links followed. Raises RunRefusedError, in one line, if one is not allowed."""
    recipe, name = admitted.recipe, admitted.order.recipe
    found = {}
    for parameter in recipe.paths:
        value = admitted.parameters[parameter]
        if value != recipe.parameters[parameter]:
            found[parameter] = str(_resolved(name, recipe, parameter, value, private))
            continue
        found[parameter] = value
        # Without a container the training is a process of the agent's user, or of the user that the owner chose: it gets no new access.
        if admitted.environment.image and private.reached(real_path(value)):
            raise RunRefusedError(
                f"{subject_of(name, parameter, value)} holds state or credentials of the agent, or lies among them: no container "
                "gets them; the machine's owner can name a folder that holds only data in the catalog"
            )
    return found


def check_unchanged(admitted: Admitted, places: dict[str, str], private: Private) -> None:
    """Raises RunRefusedError if a place from remote no longer leads to where it led when it was resolved."""
    if resolved(admitted, private) != places:
        raise RunRefusedError(
            f"recipe {admitted.order.recipe}: a place of this run was exchanged while it was prepared"
        )


def problems(catalog: Catalog, private: Private) -> Iterator[str]:
    """Yields one line, with its key, for each root that no value can come from."""
    for name, recipe in catalog.recipes.items():
        for parameter, roots in recipe.roots.items():
            for root in roots:
                if why := _unusable(root, private):
                    yield f"recipes.{name}.roots.{parameter}: {why}"


def _resolved(name: str, recipe: Recipe, parameter: str, value: str, private: Private) -> Path:
    begin = subject_of(name, parameter, value)
    check_value(name, recipe, parameter, value)
    roots = recipe.roots.get(parameter, ())
    try:
        place = Path(os.path.realpath(value, strict=True))
        mode = place.stat().st_mode
    except OSError as error:
        raise RunRefusedError(f"{begin} cannot be used: {error.strerror or error}") from None
    around = [root for root in roots if place.is_relative_to(real_path(root))]
    if not around:
        raise RunRefusedError(
            f"{begin} leads out of what this machine's owner allows ({allowed_places(recipe, parameter)})"
        )
    if all(_unusable(root, private) for root in around) or is_of_system(place) or private.reached(place):
        raise RunRefusedError(
            f"{begin} or its root holds system files, state or credentials of the agent, or lies among them: no training "
            f"gets it; name a folder that holds only data ({allowed_places(recipe, parameter)})"
        )
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise RunRefusedError(
            f"{begin} is neither a folder nor a plain file: sockets, devices and pipes do not hold data"
        )
    return place


def _unusable(root: str, private: Private) -> str:
    """Why no value may come from this root as it is on the disk now; empty if values may."""
    place = real_path(root)
    if why := root_problem(str(place)):
        return why
    if not place.exists():
        return f"{root} does not exist: make it, or remove it from the catalog"
    if private.reached(place):
        return f"{root} holds state or credentials of the agent, or lies among them: name a folder that holds only data"
    return ""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _beside(folder: Path) -> Iterator[Path]:
    """Credentials in the catalog's folder and in its subfolders, where owners put them."""
    for name in (KEY, TOKEN):
        yield from folder.glob(name)
        yield from (path.parent for path in folder.glob(f"*/{name}"))
