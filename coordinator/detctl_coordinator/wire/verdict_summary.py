"""The summary of a stored verdict that lists show."""

from __future__ import annotations

import sys
from typing import Any

from detctl_proto.outside_json import JsonError, describe_faults, parse_object
from pydantic import BaseModel, Field, ValidationError

from detctl_coordinator.domain.audit import Audit
from detctl_coordinator.storage.store import DocumentError


class _Cause(BaseModel):
    cause: str


class Summary(BaseModel):
    """The summary of a verdict of any version; other keys are ignored."""

    outcome: str | None = None
    origin: str | None = None
    causes: list[_Cause] = Field(default_factory=list)


def verdict_of(audit: Audit) -> dict[str, Any] | None:
    """Returns the verdict as JSON values, or None if there is none yet. Raises DocumentError."""
    if not audit.verdict_json:
        return None
    try:
        return parse_object(audit.verdict_json, f"the verdict of audit {audit.audit_id}", sys.maxsize, repair=True)
    except JsonError as error:
        raise DocumentError(str(error)) from None


def summary_of(audit: Audit) -> Summary:
    """Returns outcome, origin and causes. The outcome is `unreadable` if the verdict cannot be read, so that lists still show the audit."""
    try:
        return Summary.model_validate(verdict_of(audit) or {})
    except DocumentError as error:
        return Summary(outcome="unreadable", origin=str(error))
    except ValidationError as error:
        return Summary(outcome="unreadable", origin=describe_faults("its verdict", error.errors()))
