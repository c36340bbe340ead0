"""Types of the JSON that a training process sends (detctl_probe/transport/frames.py); keys that are not listed pass unchanged.

The process may be hostile. Its values become part of the rank's seal, which the coordinator refuses as a whole if it has another
form: so it is looked at here, where it costs that process alone.
"""

from __future__ import annotations

from typing import Any, TypeVar

from detctl_probe.transport.frames import ProtocolError
from detctl_proto.outside_json import describe_faults
from pydantic import BaseModel, ConfigDict, ValidationError

from detctl_agent.recording.records import json_object

Section = dict[str, Any] | None
Rows = list[dict[str, Any]] | None


class Seal(BaseModel):
    """The last frame of a process."""

    model_config = ConfigDict(extra="allow")
    streams: Section = None
    observers: dict[str, dict[str, Any]] | None = None
    unobserved: Rows = None
    interventions: Rows = None
    facts: Section = None
    share: Section = None
    budget: Section = None
    step_s: Section = None


class Facts(BaseModel):
    """What only the process knows of its environment."""

    model_config = ConfigDict(extra="allow")
    packages: Section = None
    variables: Section = None
    flags: Section = None


class Note(BaseModel):
    """Evidence that hangs on no record."""

    model_config = ConfigDict(extra="allow")
    kind: str = ""
    text: str = ""


M = TypeVar("M", bound=BaseModel)


def read(schema: type[M], payload: bytes) -> dict[str, Any]:
    """The JSON object of a payload. Raises ProtocolError where it has another form than the schema's."""
    content = json_object(payload)
    try:
        schema.model_validate(content)
    except ValidationError as error:
        raise ProtocolError(describe_faults(f"a {schema.__name__.upper()} of another form", error.errors())) from None
    return content
