"""Checks that several kinds of messages share. Each raises RefusedCallError(INVALID_ARGUMENT) with one line."""

from __future__ import annotations

from typing import Any, TypeVar

from detctl_proto.outside_json import JsonError, describe_faults, parse_object
from detctl_proto.syntax.names import NAME_RULE, is_name
from pydantic import BaseModel, ValidationError

from detctl_coordinator import limits
from detctl_coordinator.errors.codes import Code, RefusedCallError

M = TypeVar("M", bound=BaseModel)


def identifier(text: str, what: str) -> str:
    """Returns the text if it is a valid id or name of a machine, recipe or environment."""
    if not is_name(text):
        shown = limits.clean(text, 80)
        raise RefusedCallError(
            Code.INVALID_ARGUMENT,
            f"{what} {shown!r}: a name is {NAME_RULE}",
        )
    return text


def at_most(count: int, limit: int, what: str) -> None:
    """Raises if `count` exceeds `limit`."""
    if count > limit:
        raise RefusedCallError(Code.INVALID_ARGUMENT, f"the message has {count} {what}; the limit is {limit}")


def json_object(text: str, bytes_max: int, what: str) -> dict[str, Any]:
    """Returns a JSON object that a user wrote; {} for empty text."""
    return _object(text, bytes_max, what, repair=False)


def recorded_facts(text: str, bytes_max: int, what: str) -> dict[str, Any]:
    """Returns a JSON object of recorded facts; {} for empty text. Names that are not UTF-8 become escapes, and NaN and Infinity become
    null, because one such variable or file must not cost a whole run."""
    return _object(text, bytes_max, what, repair=True)


def in_form(schema: type[M], value: dict[str, Any], what: str) -> M:
    """Returns the value, validated by the schema."""
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
