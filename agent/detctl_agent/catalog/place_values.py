"""Values of parameters that are places, checked by their text alone: a refusal shows nobody what exists on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detctl_agent.catalog.roots import normalized, real_path
from detctl_agent.errors import RunRefusedError

if TYPE_CHECKING:  # see admission.py
    from detctl_agent.catalog.recipe import Recipe


def check_value(name: str, recipe: Recipe, parameter: str, value: str) -> None:
    """Raises RunRefusedError where the text of a value cannot be a place that the owner of recipe `name` allows."""
    begin = subject_of(name, parameter, value)
    if not value.startswith("/"):
        raise RunRefusedError(f"{begin} is no absolute path, and the parameter is a place")
    if value == recipe.parameters[parameter]:
        return
    if ".." in value.split("/") or not value.isprintable():
        raise RunRefusedError(f"{begin} holds '..' or characters that cannot be printed: write the path without")
    roots = recipe.roots.get(parameter, ())
    if not any(
        normalized(value).is_relative_to(root) for text in roots for root in (normalized(text), real_path(text))
    ):
        raise RunRefusedError(
            f"{begin} lies in no place that this machine's owner allows ({allowed_places(recipe, parameter)})"
        )


def subject_of(name: str, parameter: str, value: str) -> str:
    """How a refusal of this value begins."""
    return f"recipe {name}: parameter {parameter}: {value[:256]!r}"


def allowed_places(recipe: Recipe, parameter: str) -> str:
    """How a refusal ends: the places that a value may name, and who can add one."""
    roots = recipe.roots.get(parameter, ())
    return (
        f"allowed: {', '.join(['its own ' + recipe.parameters[parameter], *(f'below {root}' for root in roots)])}; the owner can "
        f"add a folder to roots.{parameter} of the recipe in the catalog"
    )
