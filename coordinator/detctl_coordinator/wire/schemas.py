"""The JSON that comes in beside protobuf fields: types of what the coordinator reads of it. Other keys pass as they are."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Section = dict[str, Any] | None
Rows = list[dict[str, Any]] | None


class ImportedRun(BaseModel):
    """run.json of a recorded folder, as far as an import needs it; null stands for a value that is not there."""

    recipe: str | None = None
    level: str | None = None
    budget_share: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Manifest(BaseModel):
    """Sections of a manifest (domain/manifest.py)."""

    model_config = ConfigDict(extra="allow")
    machine: Section = None
    python: Section = None
    torch: Section = None
    gpu: Rows = None
    locale: Section = None
    variables: Section = None
    storage: Section = None
    recipe: Section = None
    environment: Section = None


class SealDetail(BaseModel):
    """What a seal tells beside counts and chains (detctl_probe/transport/frames.py, SEAL; the agent adds notes and process)."""

    model_config = ConfigDict(extra="allow")
    observers: dict[str, dict[str, Any]] | None = None
    unobserved: Rows = None
    interventions: Rows = None
    facts: Section = None
    notes: Rows = None
    process: Section = None
    non_training: Rows = None
    share: Section = None
    budget: Section = None
    step_s: Section = None
