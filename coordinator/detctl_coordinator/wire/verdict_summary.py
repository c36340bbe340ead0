"""What lists tell of a stored verdict."""

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
    """Of any version: keys that are not listed are left out."""

    outcome: str | None = None
    origin: str | None = None
    causes: list[_Cause] = Field(default_factory=list)


def verdict_of(audit: Audit) -> dict[str, Any] | None:
    """The verdict as JSON values, None where there is none yet. Raises DocumentError."""
    if not audit.verdict_json:
        return None
    try:
        return parse_object(audit.verdict_json, f"the verdict of audit {audit.audit_id}", sys.maxsize, repair=True)
    except JsonError as error:
        raise DocumentError(str(error)) from None


def summary_of(audit: Audit) -> Summary:
    """Outcome, origin and causes; outcome `unreadable` where the verdict cannot be read: the audit's row is still shown."""
    try:
        return Summary.model_validate(verdict_of(audit) or {})
    except DocumentError as error:
        return Summary(outcome="unreadable", origin=str(error))
    except ValidationError as error:
        return Summary(outcome="unreadable", origin=describe_faults("its verdict", error.errors()))
