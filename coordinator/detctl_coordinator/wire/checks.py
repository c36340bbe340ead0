"""Checks that several message groups share. Each raises RefusedCallError(INVALID_ARGUMENT) with one line."""

from __future__ import annotations

from typing import Any, TypeVar

from detctl_proto.names import NAME_RULE, is_name
from detctl_proto.outside_json import JsonError, describe_faults, parse_object
from pydantic import BaseModel, ValidationError

from detctl_coordinator import limits
from detctl_coordinator.errors.codes import Code, RefusedCallError

M = TypeVar("M", bound=BaseModel)


def identifier(text: str, what: str) -> str:
    """An id or the name of a machine, recipe or environment."""
    if not is_name(text):
        shown = limits.clean(text, 80)
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"{what} {shown!r}: a name is {NAME_RULE}",
        )
    return text


def at_most(count: int, limit: int, what: str) -> None:
    """Raises where there are too many."""
    if count > limit:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"{count} {what}; at most {limit} are taken")


def json_object(text: str, bytes_max: int, what: str) -> dict[str, Any]:
    """A JSON object that somebody made up; empty text is {}."""
    return _object(text, bytes_max, what, repair=False)


def recorded_facts(text: str, bytes_max: int, what: str) -> dict[str, Any]:
    """A JSON object of recorded facts; empty text is {}. Names that are not UTF-8 become escapes, NaN and Infinity null: a
    training that has one such variable or file must not be lost for it."""
    return _object(text, bytes_max, what, repair=True)


def in_form(schema: type[M], value: dict[str, Any], what: str) -> M:
    """The value as the schema has it."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise RefusedCallError(Code.INVALID_ARGUMENT, describe_faults(what, error.errors())) from None


def _object(text: str, bytes_max: int, what: str, *, repair: bool) -> dict[str, Any]:
    if not text:
        return {}
    try:
        return parse_object(text, what, bytes_max, repair=repair)
    except JsonError as error:
        raise RefusedCallError(Code.INVALID_ARGUMENT, str(error)) from None
