"""Checks that several message groups share. Each raises Refusal(INVALID) with one line."""

from __future__ import annotations

import json
from typing import Any

from detctl_coordinator import limits
from detctl_coordinator.errors import Code, Refusal


def identifier(text: str, what: str) -> str:
    """An id or the name of a machine, recipe or environment."""
    if not limits.ID.fullmatch(text):
        shown = limits.clean(text, 80)
        raise Refusal(
            Code.INVALID, f"{what} {shown!r}: names are a-z, 0-9, '.', '_' and '-', at most 64, a letter or digit first"
        )
    return text


def at_most(count: int, limit: int, what: str) -> None:
    """Raises where there are too many."""
    if count > limit:
        raise Refusal(Code.INVALID, f"{count} {what}; at most {limit} are taken")


def json_object(text: str, bytes_max: int, what: str) -> dict[str, Any]:
    """A JSON object from outside; empty text is {}. NaN and Infinity become null."""
    if not text:
        return {}
    if len(text) > bytes_max:
        raise Refusal(Code.INVALID, f"{what} has {len(text)} characters; at most {bytes_max} are taken")
    try:
        # NaN and Infinity are no JSON: kept, they would make every document that holds them unreadable for others.
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise Refusal(Code.INVALID, f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise Refusal(Code.INVALID, f"{what} is no JSON object")
    return value
