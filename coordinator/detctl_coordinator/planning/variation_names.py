"""Resolves a name in --set and --vary: a parameter of the recipe, else an intervention of the probe, else an error (docs/adr/0020).

The prefixes `param:`, `probe:` and `env:` choose the kind. Environment variables always need `env:`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from detctl_proto.interventions import INTERVENTIONS, REQUESTABLE
from detctl_proto.security.redaction import redact_pairs
from detctl_proto.security.variable_rules import REMOTE, REMOTE_VALUE
from detctl_proto.syntax.clean_text import is_clean
from detctl_proto.syntax.parameter_patterns import DEFAULT_PATTERN, may_accept

from detctl_coordinator import limits
from detctl_coordinator.domain.machine import Recipe
from detctl_coordinator.errors.codes import Code, RefusedCallError

KINDS = ("param", "probe", "env")


@dataclass(frozen=True)
class Change:
    """One changed name. kind: param, probe or env; typed: the name as the user typed it, which labels the configuration."""

    kind: str
    name: str
    typed: str


def resolve(typed: str, recipes: Mapping[str, Recipe]) -> Change:
    """Returns the change that a name means on all these machines (machine -> its recipe). Raises RefusedCallError."""
    kind, _, name = typed.partition(":")
    if not name:
        if all(typed in recipe.parameters for recipe in recipes.values()):
            return Change("param", typed, typed)
        if typed in REQUESTABLE:
            return Change("probe", typed, typed)
        raise _unknown(typed, typed, sorted(_parameters(recipes) | REQUESTABLE), recipes)
    if kind == "param":
        if all(name in recipe.parameters for recipe in recipes.values()):
            return Change("param", name, typed)
        raise _unknown(typed, name, sorted(_parameters(recipes)), recipes)
    if kind == "probe":
        if name in REQUESTABLE:
            return Change("probe", name, typed)
        raise _unknown(typed, name, sorted(REQUESTABLE), recipes)
    if kind == "env":
        if name in REMOTE:
            return Change("env", name, typed)
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"variable {limits.clean(name)!r} cannot be set in an audit, because a variable can run code; allowed: "
            + ", ".join(sorted(REMOTE)),
        )
    raise RefusedCallError(
        Code.INVALID_ARGUMENT,
        f"{limits.clean(typed)!r}: the prefix must be one of " + ", ".join(f"{k}:" for k in KINDS),
    )


def check_value(change: Change, value: str, recipes: Mapping[str, Recipe]) -> None:
    """Raises RefusedCallError if a machine would certainly refuse the value; the machine itself checks its own patterns."""
    shown = f"{change.typed}={limits.clean(redact_pairs({change.name: value})[change.name])!r}"
    if change.kind == "env":
        if not REMOTE_VALUE.fullmatch(value):
            raise RefusedCallError(Code.INVALID_ARGUMENT, f"{shown}: the value must match {REMOTE_VALUE.pattern}")
    elif change.kind == "probe":
        if not INTERVENTIONS[change.name].accepts(value):
            raise RefusedCallError(
                Code.INVALID_ARGUMENT, f"{shown}: the value of {change.name} must be {INTERVENTIONS[change.name].takes}"
            )
    else:
        if len(value) > limits.VALUE_CHARS_MAX or not is_clean(value):
            raise RefusedCallError(
                Code.INVALID_ARGUMENT,
                f"{shown}: a value has at most {limits.VALUE_CHARS_MAX} characters and no control characters",
            )
        for machine, recipe in recipes.items():
            pattern = recipe.patterns.get(change.name, DEFAULT_PATTERN)
            if not may_accept(pattern, value):
                raise RefusedCallError(
                    Code.INVALID_ARGUMENT,
                    f"{shown}: machine {machine} accepts only values that match {limits.clean(pattern)}",
                )


def check_given(given: Collection[str], recipes: Mapping[str, Recipe]) -> None:
    """Raises RefusedCallError if a recipe needs a value from the request: its own value is empty, and its pattern does not allow that."""
    for machine, recipe in recipes.items():
        for name, pattern in recipe.patterns.items():
            if name not in given and recipe.parameters.get(name) == "" and not may_accept(pattern, ""):
                raise RefusedCallError(
                    Code.INVALID_ARGUMENT,
                    f"recipe {recipe.name} needs --set {name}=… (machine {machine} accepts values that match {limits.clean(pattern)})",
                )


def _parameters(recipes: Mapping[str, Recipe]) -> set[str]:
    """Returns the parameters that the recipe has on every machine."""
    sets = [set(recipe.parameters) for recipe in recipes.values()]
    return set.intersection(*sets) if sets else set()


def _unknown(typed: str, name: str, valid: list[str], recipes: Mapping[str, Recipe]) -> RefusedCallError:
    recipe = next(iter(recipes.values())).name if recipes else ""
    partly = [machine for machine, offered in recipes.items() if name in offered.parameters]
    if partly:
        text = (
            f"recipe {recipe} has a parameter {name!r} only on {', '.join(partly)}; all machines of the audit need it"
        )
        return RefusedCallError(Code.INVALID_ARGUMENT, text)
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    if name in REMOTE:
        hint = f"did you mean env:{name}? "
    elif typed == name and not close:
        hint = f"of a command after --, arg:--{name} is an option and env:{name.upper()} a variable; "
    names = ", ".join(valid) or "none"
    return RefusedCallError(
        Code.INVALID_ARGUMENT,
        f"{limits.clean(typed)!r} is neither a parameter of {recipe} nor an intervention; {hint}valid: {names}",
    )
