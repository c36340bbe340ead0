"""Settings of the coordinator. Options override DETCTL_COORDINATOR_* variables, which override defaults."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from detctl_proto.addresses import DEFAULT_ADDRESS
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from detctl_coordinator.quotas.quotas import Quota

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d|w)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Settings(BaseSettings):
    """Each field is an option and a variable: `machine_timeout` is --machine-timeout and DETCTL_COORDINATOR_MACHINE_TIMEOUT. Times are
    in seconds."""

    model_config = SettingsConfigDict(env_prefix="DETCTL_COORDINATOR_", extra="ignore")

    listen: str = DEFAULT_ADDRESS
    store: str = Field(default="sqlite:detctl.sqlite", repr=False)  # may hold a password
    store_password_file: Path | None = None
    to: str | None = Field(default=None, repr=False)  # with copy
    to_password_file: Path | None = None
    token_file: Path | None = None
    tls: Path | None = None
    health_socket: Path | None = None
    metrics: str = ""
    allow_volatile_store: bool = False
    max_age: str = ""
    machine_timeout: float = Field(default=60.0, gt=0, le=86_400 * 7)
    lease: float = Field(default=20.0, gt=0, le=3600)
    heartbeat: float = Field(default=2.0, gt=0, le=60)
    # Limits of each caller; the coordinator's own user has quotas.LOCAL_TIMES as much.
    max_open_audits: int = Field(default=50, ge=1, le=100_000)
    max_planned_runs: int = Field(default=2000, ge=1, le=10_000_000)
    max_streams: int = Field(default=16, ge=1, le=10_000)
    max_watch_calls: int = Field(default=32, ge=1, le=100_000)
    max_calls: int = Field(default=32, ge=1, le=10_000)
    log_level: str = "info"
    ready_fd: int | None = Field(default=None, ge=1)
    ready_file: Path | None = None
    exit_with_parent: bool = False
    parent_pid: int | None = Field(default=None, gt=0)

    @property
    def quota(self) -> Quota:
        """The quota of each caller, from the max_* fields."""
        return Quota(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Quota)})

    @field_validator("max_age")
    @classmethod
    def _age(cls, value: str) -> str:
        if value:
            age_s(value)
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value.lower()


def age_s(text: str) -> float:
    """Returns an age such as `30d` in seconds. Raises ValueError."""
    match = _AGE.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise ValueError("must be a time such as 30d, 12h or 90m")
    return float(match[1]) * _UNIT_S[match[2]]
