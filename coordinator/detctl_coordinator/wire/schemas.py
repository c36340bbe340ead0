"""Schemas of the JSON in protobuf fields, as far as the coordinator reads it. Other keys pass unchanged."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Section = dict[str, Any] | None
Rows = list[dict[str, Any]] | None


class ImportedRun(BaseModel):
    """The parts of a recording's run.json that an import needs; null means that a value is missing."""

    recipe: str | None = None
    level: str | None = None
    budget_share: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Manifest(BaseModel):
    """The sections of a manifest (domain/manifest.py)."""

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
    """What a seal reports besides counts and chains (detctl_probe/transport/frames.py, SEAL; the agent adds notes and process)."""

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
