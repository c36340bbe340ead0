"""Checks whether an assignment may run here, against the catalog. Every refusal is one line (docs/security.md 1, 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detctl_proto.interventions import INTERVENTIONS, TRANSPLANTS, VALUES
from detctl_proto.levels import DEFAULT_LEVEL, LEVELS
from detctl_proto.security.redaction import redact_pairs
from detctl_proto.security.variable_rules import remote_problem
from detctl_proto.syntax.names import is_name

from detctl_agent.catalog.place_values import check_value
from detctl_agent.errors import RunRefusedError
from detctl_agent.launcher.limits import Limits

if TYPE_CHECKING:  # importing pydantic takes a quarter of a second, and a recording does not need it
    from detctl_agent.catalog.catalog import Catalog
    from detctl_agent.catalog.recipe import Environment, Recipe

VALUE_CHARACTERS_MAX = 4096


@dataclass(frozen=True)
class Order:
    """An assignment as plain values. step_to: the step before which the window ends; None means to the end."""

    run_id: str
    attempt: int
    recipe: str
    environment: str = "default"
    audit_id: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    interventions: Mapping[str, str] = field(default_factory=dict)
    level: str = DEFAULT_LEVEL
    step_from: int = 0
    step_to: int | None = 32
    expected_source_digest: str = ""
    twin: int = 0
    budget_share: float = 0.0  # share of step time that the probe may take; 0: as much as it needs
    alone: bool = False  # no other run may train beside it
    known_answers: bool = False  # whether the manifest records the known-answer class of the environment

    @property
    def key(self) -> str:
        return f"{self.run_id}.{self.attempt}"

    @property
    def configuration(self) -> tuple[object, ...]:
        """What runs that train alike have in common."""
        settings = (self.parameters, self.variables, self.interventions)
        window = (self.level, self.step_from, self.step_to)
        return (self.recipe, self.environment, *(tuple(sorted(pairs.items())) for pairs in settings), *window)


@dataclass(frozen=True)
class Admitted:
    """An order that may run, with all values filled in. user: the user to train as; empty: the user of the agent."""

    order: Order
    recipe: Recipe
    environment: Environment
    parameters: Mapping[str, str]
    user: str = ""
    limits: Limits = field(default_factory=Limits)


def admit(catalog: Catalog, order: Order) -> Admitted:
    """Returns the order with its recipe and environment. Raises RunRefusedError if this machine's owner does not allow a part of it."""
    recipe = catalog.recipes.get(order.recipe)
    if recipe is None:
        raise RunRefusedError(f"unknown recipe {_shown(order.recipe)} (here: {_listed(catalog.recipes)})")
    name = order.environment or "default"
    environment = catalog.environments.get(name)
    if environment is None:
        raise RunRefusedError(f"unknown environment {_shown(name)} (here: {_listed(catalog.environments)})")
    if order.level and order.level not in LEVELS:
        raise RunRefusedError(f"unknown level {_shown(order.level)} (valid: {', '.join(LEVELS)})")
    if order.step_to is not None and order.step_to <= order.step_from:
        raise RunRefusedError(
            f"the window {order.step_from}:{order.step_to} holds no step: its end must be greater than its start"
        )
    if not 0.0 <= order.budget_share < 1.0:
        raise RunRefusedError(f"a budget of {order.budget_share} of step time: it must be below 1")
    parameters = dict(recipe.parameters)
    for key, value in order.parameters.items():
        if key not in parameters:
            raise RunRefusedError(
                f"recipe {order.recipe} has no parameter {_shown(key)} (it has: {_listed(parameters)})"
            )
        _check_value(order.recipe, recipe, key, value)
        parameters[key] = value
    for key, value in order.variables.items():
        if problem := remote_problem(key, value):
            raise RunRefusedError(problem)
    for key, value in order.interventions.items():
        if key not in INTERVENTIONS:
            raise RunRefusedError(f"unknown intervention {_shown(key)} (valid: {', '.join(INTERVENTIONS)})")
        if not INTERVENTIONS[key].accepts(value):
            raise RunRefusedError(f"intervention {key}: {_shown(value)} is not {INTERVENTIONS[key].takes}")
        if key in TRANSPLANTS and not recipe.allow_transplant:
            raise RunRefusedError(
                f"recipe {order.recipe} does not allow transplants: set allow_transplant = true in the catalog"
            )
        if key == VALUES and not recipe.allow_values:
            raise RunRefusedError(
                f"recipe {order.recipe} does not allow that values are kept: set allow_values = true in the catalog"
            )
    return Admitted(
        order, recipe, environment, parameters, environment.user or catalog.user, _limits(catalog, order.recipe, recipe)
    )


def _limits(catalog: Catalog, name: str, recipe: Recipe) -> Limits:
    places = {True: f"recipe {name}", False: "the catalog"}
    own_memory, own_processes = recipe.memory_mb_max is not None, recipe.processes_max is not None
    return Limits(
        recipe.memory_mb_max if own_memory else catalog.memory_mb_max,
        recipe.processes_max or catalog.processes_max,
        places[own_memory],
        places[own_processes],
    )


def check_ids(order: Order) -> str:
    """Why the ids of the order cannot become names of folders; empty if they can."""
    if not is_name(order.run_id) or order.attempt < 1:
        return f"run id {_shown(order.run_id)}, attempt {order.attempt}: ids do not have this form"
    return ""


def _check_value(name: str, recipe: Recipe, key: str, value: str) -> None:
    begin = f"recipe {name}: parameter {key}: {_shown(redact_pairs({key: value}, command=recipe.command)[key])}"
    if len(value) > VALUE_CHARACTERS_MAX:
        raise RunRefusedError(f"{begin} is longer than {VALUE_CHARACTERS_MAX} characters")
    try:
        taken = recipe.takes(key, value)
    except RunRefusedError as error:
        raise RunRefusedError(f"recipe {name}: parameter {key}: {error}") from None
    if not taken:
        raise RunRefusedError(
            f"{begin} does not match {recipe.pattern(key)}; the machine's owner can change patterns.{key} in the catalog"
        )
    if key in recipe.paths:
        check_value(name, recipe, key, value)
    elif key not in recipe.patterns and value != recipe.parameters[key] and _is_path(value):
        raise RunRefusedError(
            f"{begin} is a path, and the parameter is not in `paths`: the machine's owner can add it to paths with roots.{key}, or give "
            f"it a pattern of its own in patterns.{key}"
        )


def _is_path(value: str) -> bool:
    """Whether a training that opens the value would leave its own folder. So a recipe without `paths` reads no files of the host."""
    return value.startswith("/") or ".." in re.split(r"[/=:,]", value)


def _shown(text: str) -> str:
    return repr(text[:64])


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
