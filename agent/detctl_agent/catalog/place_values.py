"""Checks values of parameters that are places, by their text alone, so that a refusal reveals nothing about this machine's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detctl_agent.catalog.roots import normalized, real_path
from detctl_agent.errors import RunRefusedError

if TYPE_CHECKING:  # see admission.py
    from detctl_agent.catalog.recipe import Recipe


def check_value(name: str, recipe: Recipe, parameter: str, value: str) -> None:
    """Raises RunRefusedError if the text of a value cannot be a place that the owner of recipe `name` allows."""
    begin = subject_of(name, parameter, value)
    if not value.startswith("/"):
        raise RunRefusedError(f"{begin} is not an absolute path: the parameter is in `paths`, so give one")
    if value == recipe.parameters[parameter]:
        return
    if ".." in value.split("/") or not value.isprintable():
        raise RunRefusedError(f"{begin} holds '..' or characters that cannot be printed: write the path without them")
    roots = recipe.roots.get(parameter, ())
    if not any(
        normalized(value).is_relative_to(root) for text in roots for root in (normalized(text), real_path(text))
    ):
        raise RunRefusedError(
            f"{begin} is outside of the places that this machine's owner allows ({allowed_places(recipe, parameter)})"
        )


def subject_of(name: str, parameter: str, value: str) -> str:
    """The beginning of a refusal of this value."""
    return f"recipe {name}: parameter {parameter}: {value[:256]!r}"


def allowed_places(recipe: Recipe, parameter: str) -> str:
    """The end of a refusal: the places that a value may name, and who can add one."""
    roots = recipe.roots.get(parameter, ())
    return (
        f"allowed: {', '.join(['its own ' + recipe.parameters[parameter], *(f'below {root}' for root in roots)])}; the owner can "
        f"add a folder to roots.{parameter} of the recipe in the catalog"
    )
